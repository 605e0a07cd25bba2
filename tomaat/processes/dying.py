"""Die with the parent; as a program of its own, become another program that does.

Run by its path, it needs the standard library only. Its steps must happen between fork and exec, in this order, and
Python code there is not safe in a process with threads. Arguments: launcher's pid, signal, uid and gid
(both -1: stay), command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int) -> None:
    """Let the kernel send this process the signal ``number`` when the thread that started it ends.

    Ends this process at once if its parent is not ``parent`` any longer: then no signal would come.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("The parent ended first.")


def command_that_dies_with(launcher: int, number: signal.Signals, uid: int, gid: int, command: list[str]) -> list[str]:
    """Say how to start ``command`` so that it gets the signal ``number`` when the thread that started it ends."""
    return [sys.executable, "-I", "-S", __file__, str(launcher), str(int(number)), str(uid), str(gid), *command]


def main(launcher: int, number: int, uid: int, gid: int, command: list[str]) -> None:
    """Drop root, ask for the signal (a change of user would clear it), become the command."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    die_with_parent(launcher, number)
    os.execv(command[0], command)  # noqa: S606 (this program's purpose)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
