"""Why a task is not offered, for whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One file's fault; the other files still serve."""

    file: str  #: its name within the folder of tasks
    reason: str  #: a sentence that names the thing and what to write instead
