"""Keep a value for a moment, so that many requests cost one look into the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Reads a value again ``seconds`` after it was read; two threads may read it twice, which harms nobody."""

    def __init__(self, read: Callable[[], Value], *, seconds: float) -> None:
        self.read = read
        self.seconds = seconds
        self.known: tuple[float, Value] | None = None

    def get(self) -> Value:
        """Return the value, read at most ``seconds`` ago."""
        known = self.known
        if known is None or time.monotonic() - known[0] > self.seconds:
            value = self.read()
            known = self.known = (time.monotonic(), value)
        return known[1]
