"""Run one statement as a transaction of its own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import sqlalchemy

from tomaat.database.connection import RowRefused, one_deadline, outages_named

MOST_STATEMENTS = 1000  #: kept with what SQLAlchemy has found out about them
_statement = lru_cache(MOST_STATEMENTS)(sqlalchemy.text)


def run(database: sqlalchemy.Engine, sql: str, **values: Any) -> list[sqlalchemy.Row[Any]]:
    """Run ``sql``, committed at once, and return its rows.

    Raises ``DatabaseUnavailable`` when PostgreSQL did not answer: the statement may have happened, or not. Raises
    ``RowRefused`` when a row or a value is wrong: the statement has not happened.
    """
    with outages_named(), one_deadline(), database.connect() as connection:
        try:
            result = connection.execute(_statement(sql), values)
        except ValueError as error:  # the driver's own, of a text that PostgreSQL cannot hold: NUL, half characters
            raise RowRefused(type(error).__name__) from error
        return list(result) if result.returns_rows else []
