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
ROUND_SECONDS = 0.02  #: after which a round begins no further duty

Duty = Callable[[int], bool]  #: changes at most so many rows; tells whether more are due


class Duties:
    """Takes the duties in turn, few of them in a round: with a long queue each of several looks at all of it.

    How many rows a statement may change follows from how long the statements before it took.
    """

    def __init__(self, duties: Sequence[Duty]) -> None:
        self.duties = duties
        self.waiting: deque[Duty] = deque()  #: that have not been reached in this turn
        self.left_over = False  #: one of this turn has more to do
        self.most = FIRST_AT_ONCE

    def do(self, seconds: float) -> bool:
        """Go on with the turn, or begin one; tell whether anything is left over.

        A statement should take at most half of ``seconds``. No duty begins ``ROUND_SECONDS`` after the first one.
        """
        if not self.waiting:
            self.waiting.extend(self.duties)
            self.left_over = False
        began = time.monotonic()
        while self.waiting:
            self.left_over |= self._do(self.waiting.popleft(), seconds / 2)
            if time.monotonic() - began > ROUND_SECONDS:
                break
        return self.left_over or bool(self.waiting)

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
