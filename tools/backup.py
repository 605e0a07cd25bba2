"""Back up or restore the instance that ``make serve`` runs: ``make backup ARGS="make /srv/backups"``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat.backup import __main__ as backup
from tools.private_database import with_database

if __name__ == "__main__":
    needs_none = backup.parse(None).command == "verify"
    sys.exit(backup.main() if needs_none else with_database(backup.main))
