"""Run one statement as a transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import Any, TypeAlias

import psycopg2
import sqlalchemy
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.exc import DBAPIError

from tomaat.database.connection import RowRefused, one_deadline, outages_named

DIALECT = sqlalchemy.make_url("postgresql+psycopg2://").get_dialect()()  #: how the driver wants its parameters
MOST_STATEMENTS = 1000  #: whose text for the driver is kept

Row: TypeAlias = Any  #: a named tuple of the columns that the statement selects
Rows: TypeAlias = list[Row]


def run(database: sqlalchemy.Engine, sql: str, **values: Any) -> Rows:
    """Run ``sql``, committed at once, and return its rows.

    It goes straight to the driver, on a connection of the pool: all that SQLAlchemy would add for each statement costs
    as much as the statement. Raises ``DatabaseUnavailable`` when PostgreSQL did not answer: the statement may have
    happened, or not. Raises ``RowRefused`` when a row or a value is wrong: the statement has not happened.
    """
    with (
        outages_named(),
        one_deadline(),
        _connection_of(database) as connection,
        closing(connection.cursor(cursor_factory=NamedTupleCursor)) as cursor,
    ):
        try:
            cursor.execute(_for_driver(sql), values)
        except ValueError as error:  # the driver's own, of a text that PostgreSQL cannot hold: NUL, half characters
            raise RowRefused(type(error).__name__) from error
        return [] if cursor.description is None else list(cursor.fetchall())


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
