"""Keep a program's secrets from the other processes of its user: tasks run as that user, too."""

from __future__ import annotations

import ctypes
import os

from tomaat.processes.proc import own_environment_place

PR_SET_DUMPABLE = 4
DATABASE_URL = "TOMAAT_DATABASE_URL"
SECRETS = (DATABASE_URL, "PGPASSWORD")


def keep_private() -> None:
    """Take the secrets out of ``/proc/<pid>/environ``, and let no process of this user look into this one.

    Without "dumpable" memory, descriptors and environment are root's to read (prctl(2), proc(5)), and no core is
    dumped. The id, the command line and the start time stay public. A program that this one becomes begins anew.
    ``os.environ`` stays as it was, and so does what libraries read.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")
    for name in SECRETS:
        if name in os.environ:
            os.environ[name] = os.environ[name]  # libc keeps its own copy from now on
    _overwrite(SECRETS)


def forget_database() -> None:
    """Take the database's URL out of the environment, once the settings are read: what is started gets none."""
    keep_private()
    os.environ.pop(DATABASE_URL, None)


def _overwrite(names: tuple[str, ...]) -> None:
    """Overwrite the variables that the process was started with, where the kernel shows them."""
    start, end = own_environment_place()
    place = start
    for entry in ctypes.string_at(start, end - start).split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name.decode("ascii", "replace") in names:
            ctypes.memset(place + len(entry) - len(value), 0, len(value))
        place += len(entry) + 1
