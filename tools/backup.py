"""Back up or restore the instance that ``make serve`` runs: ``make backup ARGS="make /srv/backups"``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat.backup import __main__ as backup
from tomaat.database.private_account import PrivatePostgresFailed
from tomaat.database.PrivatePostgres import PrivatePostgres
from TOMAATSettings import read_settings


def main() -> int:
    """Find the private PostgreSQL, or start it for this moment, and do what the command line says."""
    settings = read_settings()
    if settings.database_given or backup.parse(None).command == "verify":
        return backup.main()
    postgres = PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres")
    try:
        os.environ["TOMAAT_DATABASE_URL"] = postgres.url_of_running() or postgres.start()
        return backup.main()
    except PrivatePostgresFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
