"""Run one statement as a transaction of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy

from tomaat.database.connection import RowRefused, one_deadline, outages_named


def run(database: sqlalchemy.Engine, sql: str, **values: Any) -> list[sqlalchemy.Row[Any]]:
    """Run ``sql``, committed at once, and return its rows.

    Raises ``DatabaseUnavailable`` when PostgreSQL did not answer: the statement may have happened, or not. Raises
    ``RowRefused`` when a row or a value is wrong: the statement has not happened.
    """
    with outages_named(), one_deadline(), database.connect() as connection:
        try:
            result = connection.execute(sqlalchemy.text(sql), values)
        except ValueError as error:  # the driver's own, of a text that PostgreSQL cannot hold: NUL, half characters
            raise RowRefused(type(error).__name__) from error
        return list(result) if result.returns_rows else []
