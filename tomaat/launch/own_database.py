"""Run a program with the database of ``serve``: its private PostgreSQL, unless another database is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from tomaat.doctor import warning
from tomaat.doctor.__main__ import main as examine
from tomaat.postgres.account import PrivatePostgresFailed
from tomaat.postgres.private_postgres import PrivatePostgres
from TOMAATSettings import look_at_settings, read_settings


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


def examine_with_database(words: Sequence[str]) -> int:
    """Look at everything, and into the private PostgreSQL if it runs and no database is given; start nothing."""
    settings, _ = look_at_settings()
    if settings is None or settings.database_given:
        return examine(words)
    try:
        url = PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres").url_of_running()
    except OSError as error:
        says = f"the private PostgreSQL's files cannot be read ({error.strerror})"
        return examine(
            words, instead_of_database=warning("database", says, "run this as the user who runs `make serve`")
        )
    if url is None:
        says = "the private PostgreSQL does not run; what is in it was not looked at"
        return examine(words, instead_of_database=warning("database", says, "`make serve` starts it"))
    os.environ["TOMAAT_DATABASE_URL"] = url
    return examine(words)
