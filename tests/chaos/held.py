"""Run a door whose moments a test can hold: ``python3 -m tests.chaos.held FOLDER DOOR.py``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tests.chaos.Control import Control
from tests.chaos.moments import hold

if __name__ == "__main__":
    folder, door = sys.argv[1:]
    hold(door, Control(Path(folder)))
    sys.argv = [door]
    runpy.run_path(door, run_name="__main__")
