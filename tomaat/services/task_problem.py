"""Why a task is not offered: a message for its author."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TaskProblem:
    """One file's fault; the other files still serve."""

    file: str  #: its name within the folder of tasks
    reason: str  #: a sentence that names the thing and what to write instead
