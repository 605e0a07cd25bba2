"""Keep a value for a moment, so that many requests cost one look into the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Value = TypeVar("Value")
MOST_TIMES = 5  #: as old as this many times ``seconds`` a value may become while another thread reads it
REST = 20  #: times as long as a reading took, at least, until the next one: it takes a twentieth of the time at most


class Recent(Generic[Value]):
    """Reads a value again ``seconds`` after it was read, later if that takes long, in the first thread that asks then.

    The others get the last value meanwhile, so that a slow reading costs one statement however many ask. The right to
    read is a token in a queue: there are no locks.
    """

    def __init__(self, read: Callable[[], Value], *, seconds: float) -> None:
        self.read = read
        self.seconds = seconds
        self.took = 0.0  #: seconds, of the last reading
        self.known: tuple[float, Value] | None = None
        self.turn: SimpleQueue[None] = SimpleQueue()
        self.turn.put(None)

    def get(self) -> Value:
        """Return the value, read at most ``seconds`` ago, or a few times that while it is being read."""
        known = self.known
        if known is not None and _age(known) <= self.fresh_seconds:
            return known[1]
        try:
            self.turn.get_nowait()
        except Empty:
            return known[1] if known is not None and _age(known) <= MOST_TIMES * self.fresh_seconds else self.renew()
        try:
            known = self.known  # another thread may have read it since
            return known[1] if known is not None and _age(known) <= self.fresh_seconds else self.renew()
        finally:
            self.turn.put(None)

    def renew(self) -> Value:
        """Read the value now, whatever is known of it."""
        began = time.monotonic()
        value = self.read()
        self.known = (time.monotonic(), value)
        self.took = self.known[0] - began
        return value

    @property
    def fresh_seconds(self) -> float:
        """For how long the known value is taken as it is."""
        return max(self.seconds, REST * self.took) if self.seconds > 0 else self.seconds


def _age(known: tuple[float, object]) -> float:
    return time.monotonic() - known[0]
