"""The progress of one request, to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

PACKING = "packing"
UPLOADING = "uploading"
WAITING = "waiting"
RUNNING = "running"
FETCHING = "fetching"


@dataclass(frozen=True)
class Step:
    """The progress of a request: ``what`` is under way, how much of it is done (0 to 1, or unknown), and a text."""

    what: str
    fraction: float | None = None
    text: str = ""


OnStep = Callable[[Step], object]


def ignore(_: object) -> None:
    """Show nothing."""


def bytes_step(what: str, done: int, total: int) -> Step:
    """See bytes move.

    >>> bytes_step("uploading", 1_500_000, 6_000_000)
    Step(what='uploading', fraction=0.25, text='1.5 of 6.0 MB')
    """
    unit, size = ("MB", 1e6) if total >= 1e6 else ("kB", 1e3)  # noqa: PLR2004 (a million bytes are a megabyte)
    return Step(what, done / total if total else 1.0, f"{done / size:.1f} of {total / size:.1f} {unit}")


def seconds_text(seconds: float) -> str:
    """Say a duration roughly.

    >>> [seconds_text(seconds) for seconds in (0.2, 35, 200, 9000)]
    ['1 s', '35 s', '3 min', '2.5 h']
    """
    if seconds < 90:  # noqa: PLR2004 (above it, minutes say enough)
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:  # noqa: PLR2004 (likewise hours)
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
