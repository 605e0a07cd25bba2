"""Keep a database and a storage folder that belong together from being mixed up with others."""

from __future__ import annotations

import time
from typing import Any

import psycopg2
import sqlalchemy

from tomaat.database import DatabaseUnavailable, run
from tomaat.storage.storage import ForeignStorage, Storage

SETTLE_SECONDS = 2.0  #: another door may be binding the same pair just now


def bind_storage(database: sqlalchemy.Engine, storage: Storage) -> None:
    """Give an unbound pair one id, or check that both carry the same. Raises ``ForeignStorage``."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        row = run(database, "SELECT CAST(id AS text) AS id, bound FROM instance")[0]
        found = storage.instance_id()
        if found == row.id:
            break
        if found is None and not row.bound:
            storage.bind(row.id)
        elif found is not None or time.monotonic() > deadline:
            raise ForeignStorage(_mismatch(storage, found, row.id))
        else:
            time.sleep(0.1)
    if not row.bound:
        run(database, "UPDATE instance SET bound = true")


def keep_pair(database: sqlalchemy.Engine, storage: Storage) -> None:
    """Look at each new connection whether it leads to the storage's own database, from now on.

    One that leads elsewhere raises ``DatabaseUnavailable``: then the door does as if there were no database, until the
    right one is back. ``bind_storage`` must have found the pair right.
    """

    def look(connection: Any, _record: object) -> None:
        wrong = _wrong_with(connection, storage)
        if wrong is not None:
            connection.close()
            raise DatabaseUnavailable(wrong)

    sqlalchemy.event.listen(database, "connect", look)


def _wrong_with(connection: Any, storage: Storage) -> str | None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT CAST(id AS text) FROM instance")
            rows = cursor.fetchall()
        connection.rollback()
    except psycopg2.ProgrammingError:  # there is no such table, or it is somebody else's
        rows = []
    try:
        found = storage.instance_id()
    except (OSError, ValueError) as error:
        return f"{storage.base} cannot be read ({type(error).__name__})"
    if not rows:
        return f"the database has no instance, and {storage.base} belongs to the one with instance {found}"
    return None if found == rows[0][0] else _mismatch(storage, found, rows[0][0])


def mismatch(database: sqlalchemy.Engine, storage: Storage) -> str | None:
    """Say why a database and a storage folder do not belong together; ``None`` if they do, or will. Change nothing."""
    row = run(database, "SELECT CAST(id AS text) AS id, bound FROM instance")[0]
    found = storage.instance_id()
    return None if found == row.id or (found is None and not row.bound) else _mismatch(storage, found, row.id)


def _mismatch(storage: Storage, found: str | None, wanted: str) -> str:
    if found is not None:
        return (
            f"{storage.base} belongs to the database with instance {found}, not to {wanted}: "
            "set TOMAAT_BASE_STORAGE_DIR or TOMAAT_DATABASE_URL to the pair that belongs together"
        )
    if storage.restoring.exists():
        return f"{storage.base} holds half of a restored backup: restore it again with --replace"
    return (
        f"{storage.base} is new, but the database with instance {wanted} has tickets in another folder: "
        "set TOMAAT_BASE_STORAGE_DIR to it, or, if it is lost, run UPDATE instance SET bound = false"
    )
