"""The texts by which a task tells people what it is good for; a result tells them of the task that made it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tomaat.services.task import Task

LONGEST_VERSION = 200  #: characters
MOST_SECONDS = 1e9  #: of a deadline
#: The attributes, and how many characters each may have.
LONGEST = {"intended_use": 2000, "licence": 200, "reference": 1000, "contact": 200, "kind": 64}


def texts_of(task: Task) -> dict[str, str]:
    """Give the texts that a task has, by the names of its attributes."""
    return {name: getattr(task, name) for name in LONGEST if getattr(task, name)}


def versions_of(task: Task) -> dict[str, str]:
    """Tell the versions of the packages that a task names, by their names; one that is not installed has none."""
    found = {}
    for package in task.packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def fault_of_texts(task: Task) -> str | None:
    """Say which word of a task about itself cannot be shown, and how to mend it; ``None`` if all can be."""
    trial: Any = task.trial
    if not isinstance(trial, bool):
        return f"trial is {trial!r}; write True for a service that is only to try with"
    for name, longest in LONGEST.items():
        text: Any = getattr(task, name)
        if not isinstance(text, str) or len(text) > longest or not text.isprintable():
            return f"{name} must be a text of at most {longest} printable characters, in one line"
    return None
