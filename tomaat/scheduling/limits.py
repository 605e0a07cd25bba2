"""When a running ticket is ended by force, and how."""

from __future__ import annotations

import time

from tomaat.scheduling.ends import End, PutBack, SpendAttempt
from tomaat.tickets.problems import result_not_stored


class Limits:
    """The moments at which a running ticket is ended by force, each with its end; the first counts."""

    def __init__(self) -> None:
        self.moments: dict[type[End], tuple[float, End]] = {}

    def allow(self, seconds: float, end: End) -> bool:
        """Allow ``seconds`` from now on; an end of this kind that counts already stays, and the answer is ``False``."""
        if type(end) in self.moments:
            return False
        self.moments[type(end)] = (time.monotonic() + seconds, end)
        return True

    def allow_packing(self, seconds: float) -> None:
        """Count anew, for a ticket that was performed: its deadline is met, and no client is waited for any longer."""
        self.moments = {kind: limit for kind, limit in self.moments.items() if kind is PutBack}
        self.allow(seconds, SpendAttempt(problem=result_not_stored()))

    def due(self) -> End | None:
        """Tell how the ticket has to be ended now, if so."""
        passed = [limit for limit in self.moments.values() if limit[0] <= time.monotonic()]
        return min(passed, key=lambda limit: limit[0])[1] if passed else None

    def left(self, longest: float) -> float:
        """Tell the seconds until the next moment, at most ``longest``."""
        moments = [moment for moment, _ in self.moments.values()]
        return max(0.0, min([longest, *(moment - time.monotonic() for moment in moments)]))
