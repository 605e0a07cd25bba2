"""Bring a database's schema up to date, once, however many processes start together."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
import structlog
from psycopg2.errors import DuplicateTable, UniqueViolation
from sqlalchemy.exc import IntegrityError, ProgrammingError

from tomaat.database.connection import patience
from tomaat.processes.misconfigured import Misconfigured

log = structlog.get_logger()

MIGRATIONS = Path(__file__).with_name("migrations")

LONGEST_SECONDS = 3600.0  #: of one migration, on a table with millions of rows


class SchemaTooNew(Misconfigured):
    """The database was made by a newer version of this program."""


def migrate(database: sqlalchemy.Engine) -> None:
    """Apply each migration that the database lacks, in order, each in one transaction.

    A migration begins by inserting its version; a duplicate means that another process was first.
    Raises ``SchemaTooNew`` for a database of a newer program.
    """
    migrations = known_migrations()
    applied = applied_migrations(database)
    if applied and max(applied) > max(migrations):
        raise SchemaTooNew(
            f"the database's schema is version {max(applied)}, this program knows up to {max(migrations)}: "
            "start the newer program, or restore the backup that belongs to this one"
        )
    for version in sorted(migrations.keys() - applied):
        _apply(database, version, migrations[version].read_text(encoding="utf-8"))


def known_migrations() -> dict[int, Path]:
    """List the migrations that this program has, by their versions."""
    return {int(path.name[:4]): path for path in sorted(MIGRATIONS.glob("*.sql"))}


def applied_migrations(database: sqlalchemy.Engine) -> set[int]:
    """List the versions of the migrations that a database has had."""
    with database.connect() as connection:
        if connection.execute(sqlalchemy.text("SELECT to_regclass('schema_versions')")).scalar() is None:
            return set()
        return set(connection.execute(sqlalchemy.text("SELECT version FROM schema_versions")).scalars())


def _apply(database: sqlalchemy.Engine, version: int, sql: str) -> None:
    try:
        with database.execution_options(isolation_level="READ COMMITTED").begin() as connection:
            if version == 1:
                connection.execute(
                    sqlalchemy.text(
                        "CREATE TABLE IF NOT EXISTS schema_versions (version integer PRIMARY KEY,"
                        " applied timestamptz NOT NULL DEFAULT clock_timestamp())"
                    )
                )
            connection.execute(sqlalchemy.text("INSERT INTO schema_versions VALUES (:version)"), {"version": version})
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            with patience(LONGEST_SECONDS):
                connection.exec_driver_sql(sql)
    except (IntegrityError, ProgrammingError) as error:
        if not isinstance(error.orig, (UniqueViolation, DuplicateTable)):
            raise
        return  # another process was first; IF NOT EXISTS does not look again when it creates
    log.info("database.migrated", version=version)
