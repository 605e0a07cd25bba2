"""Watch the statements of a test: every cursor of `run` calls back around its statement."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2.extras import NamedTupleCursor

RUN = importlib.import_module("tomaat.database.run")  # the package has a function of this name
Watch = Callable[[NamedTupleCursor, str, Any], None]


def nothing(*_: Any) -> None:
    """Do nothing."""


@contextmanager
def watched_statements(*, before: Watch = nothing, after: Watch = nothing) -> Iterator[None]:
    """Call `before` and `after` each statement, with its cursor, its text and its values."""

    class Watched(NamedTupleCursor):
        def execute(self, statement: str, values: Any = None) -> None:
            before(self, statement, values)
            super().execute(statement, values)
            after(self, statement, values)

    RUN.NamedTupleCursor = Watched
    try:
        yield
    finally:
        RUN.NamedTupleCursor = NamedTupleCursor
