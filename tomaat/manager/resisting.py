"""Try seldom to remove files that resist, and say so seldom."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

FIRST_PAUSE_SECONDS = 1.0  #: after the first failure; doubles with each
LONGEST_PAUSE_SECONDS = 3600.0  #: also between two lines of the log about one ticket


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """The failures of one ticket's removal so far."""

    pause_seconds: float
    try_at: float
    say_at: float


class Resisting:
    """Remembers the tickets whose files could not be removed."""

    def __init__(self) -> None:
        self.troubles: dict[int, Trouble] = {}

    def pausing(self) -> list[int]:
        """List the tickets whose files are not to be tried yet."""
        now = time.monotonic()
        return [ticket for ticket, known in self.troubles.items() if now < known.try_at]

    def note(self, ticket: int) -> bool:
        """Note a failure; tell whether to log it."""
        now = time.monotonic()
        known = self.troubles.get(ticket, Trouble(pause_seconds=FIRST_PAUSE_SECONDS, try_at=now, say_at=now))
        says = now >= known.say_at
        self.troubles[ticket] = Trouble(
            pause_seconds=min(2 * known.pause_seconds, LONGEST_PAUSE_SECONDS),
            try_at=now + known.pause_seconds,
            say_at=now + LONGEST_PAUSE_SECONDS if says else known.say_at,
        )
        return says

    def forget(self, tickets: Collection[int]) -> None:
        """Forget tickets whose files are gone."""
        for ticket in tickets:
            self.troubles.pop(ticket, None)
