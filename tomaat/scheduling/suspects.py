"""What workers died of, as far as that is known."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from structlog.typing import FilteringBoundLogger

LEFT_OUT_SECONDS = 3600.0  #: no worker loads meanwhile what has ended one
MOST_ENDED = 2  #: workers that one file or network may end while it is loaded
MOST_DEADLY = 3  #: services that may end a worker one after the other before the source counts as broken


class Suspects:
    """Files and networks that workers loaded when they ended, and services whose tickets they had."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self.log = log
        self.ended_by: Counter[str] = Counter()  #: workers that ended while they loaded this at their start
        self.left_out: dict[str, float] = {}  #: files and services, and until when
        self.deadly: set[str] = set()  #: services with which a worker died, since one ticket succeeded

    def note_loading(self, name: str) -> None:
        """Note that a worker ended while it loaded this; it is left out after the second time."""
        self.ended_by[name] += 1
        if self.ended_by[name] >= MOST_ENDED:
            self.leave_out(name, f"{MOST_ENDED} workers ended while they loaded it")

    def leave_out(self, name: str, reason: str) -> None:
        """Let the next workers do without a file of tasks, or without a service."""
        self.left_out[name] = time.monotonic() + LEFT_OUT_SECONDS
        self.log.error("task.left_out", name=name, reason=reason)

    def forgive(self, names: Iterable[str]) -> None:
        """Let the next workers load again what an operator has mended."""
        for name in names:
            self.left_out.pop(name, None)

    def names(self) -> tuple[str, ...]:
        """Name what a worker that starts now does without."""
        self.left_out = {name: until for name, until in self.left_out.items() if until > time.monotonic()}
        return tuple(self.left_out)

    @property
    def in_doubt(self) -> bool:
        """Whether a worker ended while it loaded, and none has loaded all since."""
        return bool(self.ended_by)

    def note_ready(self) -> None:
        """Note that a worker has loaded all that it offers."""
        self.ended_by.clear()

    def note_death(self, service: str, ending: str) -> str | None:
        """Note that a worker died with a ticket; after deaths with several services, tell the source's problem."""
        self.deadly.add(service)
        if len(self.deadly) < MOST_DEADLY:
            return None
        return f"its worker died with {len(self.deadly)} services one after the other; it {ending} at last"

    def note_success(self) -> None:
        """Note that a ticket succeeded, so that the source is in order."""
        self.deadly.clear()
