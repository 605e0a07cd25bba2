"""Change many rows in one statement, or one by one where PostgreSQL refuses one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
import structlog

from tomaat.database import RowRefused, Rows, run

log = structlog.get_logger()

MOST_REFUSED = 1000  #: rows remembered as refused
ONE_BY_ONE = 50  #: rows changed each by itself, where one of them is refused


class RowByRow:
    """Changes rows of one ``table``. One that PostgreSQL refuses holds no other up: it is left alone from then on.

    The log calls a row by its ``word``.
    """

    def __init__(self, database: sqlalchemy.Engine, table: str, *, word: str) -> None:
        self.database = database
        self.table = table
        self.word = word
        self.refused: list[int] = []

    def change(
        self, change: str, due: str, *, most: int, picked: str | None = None, returning: str = "t.id", **values: Any
    ) -> Rows:
        """Do ``change``, a statement without its WHERE, to at most ``most`` rows ``t`` that are ``due``; return them.

        ``picked`` selects them where that is quicker than to look for ``due`` itself. It may name the ``:refused``.
        """
        picked = picked or f"SELECT t.id FROM {self.table} t WHERE {due}"
        picked = f"SELECT id FROM ({picked}) picked WHERE id <> ALL(:refused) LIMIT :most"
        changed = f"{change} WHERE {due}"
        values["refused"] = self.refused
        try:
            all_at_once = f"{changed} AND t.id = ANY(ARRAY({picked})) RETURNING {returning}"
            return run(self.database, all_at_once, most=most, **values)
        except RowRefused:
            rows = []
            for one in run(self.database, picked, most=min(most, ONE_BY_ONE), **values):
                with self.leaving(one.id):
                    rows += run(self.database, f"{changed} AND t.id = :id RETURNING {returning}", id=one.id, **values)
            return rows

    @contextmanager
    def leaving(self, row: int) -> Iterator[None]:
        """Leave a row alone from now on if it is refused."""
        try:
            yield
        except RowRefused as error:
            log.error("row.refused_by_database", **{self.word: row}, reason=str(error))
            self.refused = [*self.refused, row][-MOST_REFUSED:]
