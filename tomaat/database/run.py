"""Run one statement as a transaction of its own."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import psycopg2
import sqlalchemy
from psycopg2.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.exc import DBAPIError

from tomaat.database.connection import RowRefused, one_deadline, outages_named

DIALECT = sqlalchemy.make_url("postgresql+psycopg2://").get_dialect()()  #: how the driver wants its parameters
MOST_STATEMENTS = 1000  #: whose text for the driver is kept
MOST_LETTERS = 40  #: of a statement that its name begins with; PostgreSQL keeps 63 of a name
PLAN_SECONDS = 30.0  #: for which a plan is used: the tables grow meanwhile
#: Not prepared here: a pooler gave this connection another session, or a table has changed. Nothing has happened.
NOT_PREPARED = (InvalidSqlStatementName, DuplicatePreparedStatement, FeatureNotSupported)

Row: TypeAlias = Any  #: a named tuple of the columns that the statement selects
Rows: TypeAlias = list[Row]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A statement as PostgreSQL prepares it: what makes it, and what runs it with the driver's values."""

    name: str  #: how its text begins, for the server's log, and its hash: the same on all connections
    prepare: str
    execute: str


def run(database: sqlalchemy.Engine, sql: str, **values: Any) -> Rows:
    """Run ``sql``, committed at once, and return its rows.

    It goes straight to the driver, on a connection of the pool: all that SQLAlchemy would add for each statement costs
    as much as the statement. Raises ``DatabaseUnavailable`` when PostgreSQL did not answer: the statement may have
    happened, or not. Raises ``RowRefused`` when a row or a value is wrong: the statement has not happened.
    """
    with _cursor_of(database) as (_, cursor):
        cursor.execute(_for_driver(sql), values)
        return _rows_of(cursor)


def run_prepared(database: sqlalchemy.Engine, sql: str, **values: Any) -> Rows:
    """Run ``sql`` as ``run`` does; PostgreSQL plans it once for a connection, not each time.

    For the statements of each ticket: to plan one costs more than to run it. A value takes the type that the place of
    its first use asks for, so a number in a sum needs a ``CAST``.
    """
    with _cursor_of(database) as (connection, cursor):
        try:
            _execute_prepared(connection, cursor, _prepared(sql), values)
        except NOT_PREPARED:
            connection.info.clear()
            cursor.execute("DEALLOCATE ALL")  # so that the next ones are prepared anew
            cursor.execute(_for_driver(sql), values)
        return _rows_of(cursor)


def _execute_prepared(
    connection: PoolProxiedConnection, cursor: NamedTupleCursor, prepared: Prepared, values: dict[str, Any]
) -> None:
    """Run a statement whose plan the connection may have by now: its ``info`` tells since when."""
    planned, now = connection.info.get(prepared.name), time.monotonic()
    if planned is None or now - planned > PLAN_SECONDS:
        cursor.execute(prepared.prepare if planned is None else f"DEALLOCATE {prepared.name}; {prepared.prepare}")
        connection.info[prepared.name] = now
    cursor.execute(prepared.execute, values)


def _rows_of(cursor: NamedTupleCursor) -> Rows:
    return [] if cursor.description is None else list(cursor.fetchall())


@contextmanager
def _cursor_of(database: sqlalchemy.Engine) -> Iterator[tuple[PoolProxiedConnection, NamedTupleCursor]]:
    """Borrow a connection of the pool, with a cursor; name what goes wrong."""
    with (
        outages_named(),
        one_deadline(),
        _connection_of(database) as connection,
        closing(connection.cursor(cursor_factory=NamedTupleCursor)) as cursor,
    ):
        try:
            yield connection, cursor
        except ValueError as error:  # the driver's own, of a text that PostgreSQL cannot hold: NUL, half characters
            raise RowRefused(type(error).__name__) from error


@contextmanager
def _connection_of(database: sqlalchemy.Engine) -> Iterator[PoolProxiedConnection]:
    """Borrow a connection of the pool; one that is lost, or in an unknown state, does not go back there."""
    connection = None
    try:
        connection = database.raw_connection()
        yield connection
    except psycopg2.Error as error:
        is_lost = connection is None or connection.dbapi_connection is None or bool(connection.dbapi_connection.closed)
        if connection is not None and is_lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None, None, error, psycopg2.Error, connection_invalidated=is_lost, hide_parameters=True
        ) from error
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if connection is not None and not isinstance(error, RowRefused):
            connection.invalidate()
        raise
    finally:
        if connection is not None:
            connection.close()


@lru_cache(MOST_STATEMENTS)
def _for_driver(sql: str) -> str:
    return str(sqlalchemy.text(sql).compile(dialect=DIALECT))


@lru_cache(MOST_STATEMENTS)
def _prepared(sql: str) -> Prepared:
    numbers: dict[str, int] = {}
    text = re.sub(
        r"%\((\w+)\)s", lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", _for_driver(sql)
    ).replace("%%", "%")
    words = re.sub(r"\W+", "_", sql)[:MOST_LETTERS].strip("_").lower()
    name = f"{words}_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
    values = ", ".join(f"%({each})s" for each in numbers)
    return Prepared(
        name=name, prepare=f"PREPARE {name} AS {text}", execute=f"EXECUTE {name}{f'({values})' if values else ''}"
    )
