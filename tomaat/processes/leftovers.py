"""End the processes that a child has started and leaves behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection

from tomaat.processes.proc import own_children, session_members

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of each process whose parent, a descendant of this one, ends; init would be it otherwise."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def end_session(leader: int) -> None:
    """Kill a process that was started in a session of its own, and all that runs in that session."""
    for member in session_members(leader):
        with contextlib.suppress(OSError):  # it ended just now
            os.kill(member, signal.SIGKILL)


def end_orphans(own: Collection[int]) -> set[int]:
    """Kill the children of this process that are not its ``own`` but were adopted; return the own that still live.

    Of those that were killed, one that has not ended yet is a child still, and is met again the next time.
    """
    children = own_children()
    for orphan in children - set(own):
        with contextlib.suppress(OSError):  # it ended just now
            os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, os.WNOHANG)
    return children & set(own)
