"""Notice that a clock was set: compare it with this process's own, which nobody sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from tomaat.tickets.manager_store import NO_TIME, Within

SLEW = 0.1  #: of the time that passed: a clock that is put right by less each second was not set


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a clock told, between two moments of the own clock."""

    clock: datetime
    before: float
    after: float


class SteadyClock:
    """Follows a clock from reading to reading; ``read`` reads it.

    A difference of more than ``tolerance_seconds`` is a step. Afterwards the clock has to be ``steady`` again for as
    long as the question demands, unless an operator says that it is right.
    """

    def __init__(self, read: Callable[[], datetime], *, tolerance_seconds: float) -> None:
        self.read = read
        self.tolerance_seconds = tolerance_seconds
        self.last: Reading | None = None
        self.drift = 0.0  #: what no latency of a reading explains, and no slewing
        self.stepped_at: float | None = None  #: by the own clock
        self.is_trusted = True  #: no step since an operator's last word

    def look(self) -> float | None:
        """Read the clock; return by how many seconds it was set since the last reading, ``None`` if it was not."""
        before = time.monotonic()
        clock = self.read()
        last, self.last = self.last, Reading(clock=clock, before=before, after=time.monotonic())
        if last is None:
            return None
        passed = (clock - last.clock).total_seconds()
        least, most = self.last.before - last.after, self.last.after - last.before
        self.drift += min(0.0, passed - least) + max(0.0, passed - most)
        if abs(self.drift) > self.tolerance_seconds:
            step, self.drift = self.drift, 0.0
            self.note_step()
            return step
        slewed = SLEW * most
        self.drift = max(0.0, self.drift - slewed) + min(0.0, self.drift + slewed)
        return None

    def note_step(self) -> None:
        """Note that the clock was set, or may have been."""
        self.stepped_at = time.monotonic()
        self.is_trusted = False

    def trust(self) -> None:
        """Take an operator's word that the clock is right."""
        self.is_trusted = True

    def steady(self, seconds: float) -> bool:
        """Tell whether the clock was not set within the last ``seconds``, or an operator trusts it."""
        return self.is_trusted or self.stepped_at is None or time.monotonic() - self.stepped_at >= seconds

    def within(self, steady_seconds: float) -> Within:
        """Give the bounds of the clock's present time, for a statement to look at; none while it is not steady."""
        last = self.last
        if last is None or not self.steady(steady_seconds):
            return NO_TIME
        now = time.monotonic()
        tolerance = timedelta(seconds=self.tolerance_seconds)
        return Within(
            earliest=last.clock + timedelta(seconds=now - last.after) - tolerance,
            latest=last.clock + timedelta(seconds=now - last.before) + tolerance,
        )
