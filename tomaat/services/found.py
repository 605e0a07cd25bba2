"""The result of a look into the folder of tasks."""

from __future__ import annotations

from dataclasses import dataclass

from tomaat.services.task import Task
from tomaat.services.task_problem import TaskProblem


@dataclass(frozen=True, kw_only=True)
class Found:
    """The tasks that can be offered, and the faults of the others."""

    tasks: dict[str, Task]  #: by their identifiers
    files: dict[str, str]  #: the name of the file that holds each
    problems: list[TaskProblem]
