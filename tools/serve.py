"""``python3 tools/serve.py`` from anywhere: become ``python3 -m tomaat.launch serve`` in this clone."""

import os
import sys
from pathlib import Path

os.chdir(Path(__file__).resolve().parents[1])
os.execv(sys.executable, [sys.executable, "-m", "tomaat.launch", "serve"])  # noqa: S606 (this program's purpose)
