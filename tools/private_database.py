"""Do something with the database of ``make serve``: with its private PostgreSQL, unless another one is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from tomaat.postgres.account import PrivatePostgresFailed
from tomaat.postgres.private_postgres import PrivatePostgres
from TOMAATSettings import read_settings


def with_database(act: Callable[[], int]) -> int:
    """Find the private PostgreSQL, or start it for this moment, and act; give the exit status."""
    settings = read_settings()
    if settings.database_given:
        return act()
    postgres = PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres")
    try:
        os.environ["TOMAAT_DATABASE_URL"] = postgres.url_of_running() or postgres.start()
        return act()
    except PrivatePostgresFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        postgres.stop()
