"""Bring a network folder into the folder of tasks, trust it, and take it away again: the operator's acts."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tomaat.contents.network_folder import forget, is_network_folder, trust
from tomaat.services.find import IDENTIFIER, fault_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask
from tomaat.services.folders.kinds import make_task

DRAFT = ".tomaat-draft-"
DAY_SECONDS = 86400.0

if TYPE_CHECKING:
    from collections.abc import Iterator


def examine(place: Path, name: str | None = None) -> FolderTask:
    """Make the task of a folder and look at what it declares. Raises ``FolderRefused``."""
    if not place.is_dir():
        raise FolderRefused(f"{place}: there is no such folder.")
    task = make_task(place, name)
    fault = fault_of(task)
    if fault is not None:
        raise FolderRefused(f"{place.name}: {fault}")
    return task


def add(place: Path, tasks: Path, name: str | None = None, *, trusted: bool = False) -> FolderTask:
    """Copy a folder into the folder of tasks, whole or not at all, and remember whether it is ``trusted``.

    Raises ``FolderRefused``, and ``OSError`` where it cannot be copied.
    """
    place = place.resolve()
    if not IDENTIFIER.fullmatch(name or place.name):
        rule = "a service's name has letters, digits, '_' and '-', and begins with a letter"
        raise FolderRefused(f"{name or place.name}: {rule}; --name gives another name.")
    task = examine(place, name)
    target = tasks.resolve() / task.task_identifier
    demand_trust(task, trusted=trusted)
    if target.exists():
        remedy = f"python3 -m tomaat.services remove {target.name}"
        raise FolderRefused(f"{target.name} is there already. To replace it, first: {remedy}")
    with draft_of(target) as draft:
        shutil.copytree(place, draft, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(draft):
            Path(folder).chmod(mode_of_folders())  # and not the source's, which may shut out the workers' account
        draft.rename(target)
    if trusted:
        trust(target)
    return examine(target)


def trust_folder(name: str, tasks: Path) -> str:
    """Trust a folder as it is now; return its SHA-256. Raises ``FolderRefused``."""
    place = find(name, tasks)
    examine(place)
    return trust(place)


def remove(name: str, tasks: Path) -> None:
    """Take a folder away, and trust it no longer. Raises ``FolderRefused``."""
    place = find(name, tasks)
    with draft_of(place) as draft:
        gone = draft / name
        place.rename(gone)
        forget(place)
        if gone.is_symlink():
            gone.unlink()


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
    """Give a hidden folder beside ``target``; of a copy that fails nothing is left.

    What a program that was killed has left there goes after a day.
    """
    for left in target.parent.glob(f"{DRAFT}*"):
        if left.stat().st_mtime < time.time() - DAY_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    draft = target.with_name(f"{DRAFT}{secrets.token_hex(4)}")
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def mode_of_folders() -> int:
    """Tell the mode that a new folder has by this program's umask."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o777 & ~umask
