"""Say what is wrong with how ``make serve`` is set up, and what to do: ``make doctor``. Nothing is started or made."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat.doctor import warning
from tomaat.doctor.__main__ import main as examine


def main() -> int:
    """Look into the private PostgreSQL, if it runs and no database is given."""
    try:
        from tomaat.postgres.private_postgres import PrivatePostgres  # noqa: PLC0415 (the doctor tells what is missing)
        from TOMAATSettings import look_at_settings  # noqa: PLC0415
    except ImportError:
        return examine()
    settings, _ = look_at_settings()
    if settings is None or settings.database_given:
        return examine()
    try:
        url = PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres").url_of_running()
    except OSError as error:
        says = f"the private PostgreSQL's files cannot be read ({error.strerror})"
        return examine(instead_of_database=warning("database", says, "run this as the user who runs `make serve`"))
    if url is None:
        says = "the private PostgreSQL does not run; what is in it was not looked at"
        return examine(instead_of_database=warning("database", says, "`make serve` starts it"))
    os.environ["TOMAAT_DATABASE_URL"] = url
    return examine()


if __name__ == "__main__":
    sys.exit(main())
