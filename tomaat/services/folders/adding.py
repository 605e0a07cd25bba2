"""Bring a network folder into the folder of tasks, trust it, and take it away again: the operator's acts."""

from __future__ import annotations

import secrets
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tomaat.contents.network_folder import forget, is_network_folder, trust
from tomaat.services.find import fault_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask
from tomaat.services.folders.kinds import make_task

if TYPE_CHECKING:
    from collections.abc import Iterator


def examine(place: Path, name: str | None = None) -> FolderTask:
    """Make the task of a folder and look at what it declares. Raises ``FolderRefused``."""
    if not place.is_dir():
        raise FolderRefused(f"{place}: there is no such folder.")
    task = make_task(place, name)
    fault = fault_of(task)
    if fault is not None:
        raise FolderRefused(f"{place.name}: {fault}; --name gives another name")
    return task


def add(place: Path, tasks: Path, name: str | None = None, *, trusted: bool = False) -> FolderTask:
    """Copy a folder into the folder of tasks, whole or not at all, and remember whether it is ``trusted``.

    Raises ``FolderRefused``, and ``OSError`` where it cannot be copied.
    """
    place = place.resolve()
    task = examine(place, name)
    target = tasks.resolve() / task.task_identifier
    demand_trust(task, trusted=trusted)
    if target.exists():
        remedy = f"python3 -m tomaat.services remove {target.name}"
        raise FolderRefused(f"{target.name} is there already. To replace it, first: {remedy}")
    with draft_of(target) as draft:
        shutil.copytree(place, draft, dirs_exist_ok=True)
        draft.rename(target)
    if trusted:
        trust(target)
    return examine(target)


def trust_folder(name: str, tasks: Path) -> str:
    """Trust a folder as it is now; return its SHA-256. Raises ``FolderRefused``."""
    examine(find(name, tasks))
    return trust(find(name, tasks))


def remove(name: str, tasks: Path) -> None:
    """Take a folder away, and trust it no longer. Raises ``FolderRefused``."""
    place = find(name, tasks)
    gone = place.with_name(f".{name}.{secrets.token_hex(4)}")
    place.rename(gone)
    forget(place)
    shutil.rmtree(gone)


def find(name: str, tasks: Path) -> Path:
    """Find a network folder by its service's name. Raises ``FolderRefused``."""
    place = tasks.resolve() / name
    if Path(name).name != name or not is_network_folder(place):
        there = sorted(each.name for each in tasks.glob("*") if is_network_folder(each))
        raise FolderRefused(f"{name} is no network folder in {tasks}. There are: {', '.join(there) or 'none'}.")
    return place


def demand_trust(task: FolderTask, *, trusted: bool) -> None:
    """Raise ``FolderRefused`` for a folder that holds code, unless it is ``trusted``."""
    reason = task.of_kind.needs_trust(task.place)
    if reason is not None and not trusted:
        raise FolderRefused(f"{reason} Where you trust it, type the same with --trust.")


@contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Give a hidden folder beside ``target``; of a copy that fails nothing is left."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
