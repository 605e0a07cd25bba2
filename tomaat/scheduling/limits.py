"""When a running ticket is ended by force."""

from __future__ import annotations

import time


class Limits:
    """The moments at which a running ticket is ended by force, each with its reason; the first counts."""

    def __init__(self, *, deadline_seconds: float) -> None:
        self.moments = {"deadline": time.monotonic() + deadline_seconds}

    def allow(self, reason: str, seconds: float) -> bool:
        """Allow ``seconds`` from now on; a reason that counts already stays as it is, and the answer is ``False``."""
        if reason in self.moments:
            return False
        self.moments[reason] = time.monotonic() + seconds
        return True

    def due(self) -> str | None:
        """Tell which reason's moment has come."""
        reason = min(self.moments, key=self.moments.__getitem__)
        return reason if self.moments[reason] <= time.monotonic() else None

    def left(self, longest: float) -> float:
        """Tell the seconds until the next moment, at most ``longest``."""
        return max(0.0, min(longest, min(self.moments.values()) - time.monotonic()))

    def allow_packing(self, seconds: float) -> None:
        """Count anew, for a ticket that was performed: its deadline is met, and no client is waited for any longer."""
        self.moments = {reason: moment for reason, moment in self.moments.items() if reason == "stopped"}
        self.allow("not_packed", seconds)
