"""Make, list and revoke API keys in the database that ``make serve`` uses: ``make keys ARGS="make radiology"``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat import keys
from tools.private_database import with_database

if __name__ == "__main__":
    sys.exit(with_database(keys.main))
