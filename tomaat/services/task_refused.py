"""How a task tells its client why there is no result."""

from __future__ import annotations

from tomaat.refusals import Refusal


class TaskRefused(Refusal):
    """Raised in ``perform``: its sentence reaches the client verbatim, whereas any other exception stays in the log.

    A sentence is one line of at most 2000 characters: a line break becomes a space, a longer one is cut.

    >>> raise TaskRefused("scan: no liver was found.")
    Traceback (most recent call last):
        ...
    tomaat.services.task_refused.TaskRefused: scan: no liver was found.
    """

    def __init__(self, detail: str, *, code: str = "task-refused") -> None:
        super().__init__(code, detail)
