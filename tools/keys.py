"""Make, list and revoke API keys in the database that ``make serve`` uses: ``make keys ARGS="make radiology"``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat import keys
from tomaat.database.private_account import PrivatePostgresFailed
from tomaat.database.PrivatePostgres import PrivatePostgres
from TOMAATSettings import read_settings


def main() -> int:
    """Find the private PostgreSQL, or start it for this moment, and do what the command line says."""
    settings = read_settings()
    if settings.database_given:
        return keys.main()
    postgres = PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres")
    try:
        os.environ["TOMAAT_DATABASE_URL"] = postgres.url_of_running() or postgres.start()
        return keys.main()
    except PrivatePostgresFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
