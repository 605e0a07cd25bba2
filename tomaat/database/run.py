"""Run one statement as a transaction of its own."""

from __future__ import annotations

from typing import Any

import sqlalchemy

from tomaat.database.connection import one_deadline, outages_named


def run(database: sqlalchemy.Engine, sql: str, **values: Any) -> list[sqlalchemy.Row[Any]]:
    """Run ``sql``, committed at once, and return its rows.

    Raises ``DatabaseUnavailable`` when PostgreSQL did not answer: the statement may have happened, or not.
    """
    with outages_named(), one_deadline(), database.connect() as connection:
        result = connection.execute(sqlalchemy.text(sql), values)
        return list(result) if result.returns_rows else []
