"""Look at the storage folder without writing into it."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path

from tomaat.doctor.finding import PROBLEM, Finding, ok, warning, wrong
from tomaat.storage import Storage
from tomaat.storage.disk import LEAST_ROOM_BYTES
from tomaat.storage.storage import ASIDE, STRAY_SECONDS

ABOUT = "storage"
LEAST_INODES = 10_000
OLD_SECONDS = 2 * STRAY_SECONDS  #: QueueManager should have put it aside long ago


def look_at_storage(base: Path, largest_unpacked_bytes: int) -> Iterator[Finding]:
    """Tell whether this user can keep tickets there, and which files there are unknown."""
    try:
        there = base.exists()
    except PermissionError:
        mend = "run the doors, and this program, as the user whose folder it is"
        yield wrong(ABOUT, f"{base} cannot be reached by {_name(os.geteuid())}", mend)
        return
    if not there:
        parent = next(folder for folder in base.parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            yield warning(ABOUT, f"{base} is not there yet", "the door that starts first makes it; nothing to do")
            yield from _room(parent, largest_unpacked_bytes)
        else:
            mend = f"mkdir -p {base}; chown {_name(os.geteuid())} {base}"
            yield wrong(ABOUT, f"{base} is not there, and {parent} cannot be written", mend)
        return
    if not base.is_dir():
        yield wrong(ABOUT, f"{base} is no folder", "set TOMAAT_BASE_STORAGE_DIR to one")
        return
    storage = Storage(base)
    troubles = list(_troubles(base))
    if os.access(base, os.X_OK, effective_ids=True):  # else nothing below can be looked at
        folders = (storage.incoming, storage.tickets, storage.quarantine, storage.temporary, storage.code)
        troubles += [trouble for folder in folders if folder.exists() for trouble in _troubles(folder)]
    yield from troubles
    if not troubles:
        yield ok(ABOUT, f"{base} can be written by {_name(os.geteuid())}")
    yield from _room(base, largest_unpacked_bytes)
    if not any(trouble.level == PROBLEM for trouble in troubles):
        yield from _strays(storage)


def _troubles(folder: Path) -> Iterator[Finding]:
    owner, user = folder.stat().st_uid, os.geteuid()
    mend = f"run the doors, and this program, as {_name(owner)}" if owner != user else f"chmod u+rwx {folder}"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        yield wrong(ABOUT, f"{folder} cannot be written by {_name(user)}", f"{mend}; is it mounted writable?")
    elif owner != user:
        yield warning(ABOUT, f"{folder} belongs to {_name(owner)}, this program runs as {_name(user)}", mend)


def _room(folder: Path, largest_unpacked_bytes: int) -> Iterator[Finding]:
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    free = f"{free_bytes / 10**9:.1f} GB free of {disk.f_blocks * disk.f_frsize / 10**9:.1f} GB"
    about = "room"
    if free_bytes < LEAST_ROOM_BYTES:
        yield wrong(about, f"{free}: requests are answered 507, and no result can be kept", "make room")
    elif free_bytes < largest_unpacked_bytes:
        mend = "make room, shorten TOMAAT_RETENTION_HOURS, or lower TOMAAT_LARGEST_UNPACKED_BYTES"
        yield warning(about, f"{free}: less than one payload may have", mend)
    else:
        yield ok(about, free)
    if disk.f_files and disk.f_favail < LEAST_INODES:
        yield warning(about, f"{disk.f_favail} inodes are left", "delete small files: each ticket needs a dozen")


def _strays(storage: Storage) -> Iterator[Finding]:
    about = "quarantine"
    quarantined = _within(storage.quarantine)
    old = [path for path in _within(storage.incoming) if _age_seconds(path) > OLD_SECONDS]
    if quarantined:
        mend = (
            "nothing to do: they go after TOMAAT_RETENTION_HOURS; clients send again those that a restored backup lacks"
        )
        yield warning(about, f"{len(quarantined)} folders without a ticket lie in {storage.quarantine}", mend)
    if old:
        says = f"{len(old)} uploads of hours ago lie in {storage.incoming}"
        yield warning(about, says, "start QueueManager.py, which clears them away")
    for left in (storage.restoring, *storage.base.glob(f"{ASIDE}*")):
        if left.exists():
            says = f"{left} holds patients' data, and nothing deletes it by itself"
            mend = f"once no restore runs and nothing is missing: rm -r {left}"
            yield warning("restore", says, mend)
    if not quarantined and not old:
        yield ok(about, "empty")


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:  # it became a ticket meanwhile
        return 0.0


def _within(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not there yet
        return []


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
