"""Do what is due in small parts, so that nothing that is due keeps tickets from their queues."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.tickets.manager_store import MOST_AT_ONCE

log = structlog.get_logger()

FEWEST_AT_ONCE = 10  #: rows of a statement, however slow the database is
FIRST_AT_ONCE = 100  #: rows of the first statements, before their time is known

Duty = Callable[[int], bool]  #: changes at most so many rows; tells whether more are due


class Duties:
    """Takes the duties in turn. One that was not reached comes first the next time.

    How many rows a statement may change follows from how long the statements before it took.
    """

    def __init__(self, duties: Sequence[Duty]) -> None:
        self.waiting = deque(duties)
        self.most = FIRST_AT_ONCE

    def do(self, seconds: float) -> bool:
        """Begin duties for half of ``seconds``; tell whether anything is left over."""
        began = time.monotonic()
        left_over = False
        for _ in range(len(self.waiting)):
            if time.monotonic() - began > seconds / 2:
                return True
            duty = self.waiting[0]
            self.waiting.rotate(-1)
            left_over |= self._do(duty, seconds / 2)
        return left_over

    def _do(self, duty: Duty, seconds: float) -> bool:
        """Do one, and measure it; a row that PostgreSQL refuses ends no other duty."""
        began, left_over = time.monotonic(), False
        try:
            left_over = duty(self.most)
        except RowRefused as error:
            log.error("duty.refused", duty=duty.__name__, reason=str(error))
        except DatabaseUnavailable:
            self.most = max(FEWEST_AT_ONCE, self.most // 4)  # it may have been too much within its deadline
            raise
        took = time.monotonic() - began
        if took > seconds / 2:
            self.most = max(FEWEST_AT_ONCE, self.most // 2)
        elif left_over and took < seconds / 8:
            self.most = min(MOST_AT_ONCE, self.most * 2)
        return left_over
