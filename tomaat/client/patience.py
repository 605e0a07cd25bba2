"""How long and how often something is tried again."""

from __future__ import annotations

import random
import time
from typing import Callable

from tomaat.client.errors import Unreachable

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0


class Patience:
    """Lasts for some seconds; the pauses double, a little at random, and are never shorter than the server asks for."""

    def __init__(self, seconds: float, on_notice: Callable[[str], object]) -> None:
        self.began = time.monotonic()
        self.seconds = seconds
        self.on_notice = on_notice
        self.pause_seconds = FIRST_PAUSE_SECONDS

    def wait(self, trouble: Unreachable, *, at_least_seconds: float = 0.0) -> None:
        """Wait before the next try; raises ``trouble`` where the next try would come too late."""
        pause = max(at_least_seconds, self.pause_seconds * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
        if time.monotonic() + pause > self.began + self.seconds:
            raise trouble from None
        self.on_notice(f"{trouble.detail} Trying again{'' if pause < 1 else f' in {pause:.0f} s'}.")
        time.sleep(pause)
        self.pause_seconds = min(2 * self.pause_seconds, LONGEST_PAUSE_SECONDS)
