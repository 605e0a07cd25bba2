"""Die with the parent; as a program of its own, become another program that does.

Run by its path, it needs the standard library only. Its steps must happen between fork and exec, in this order, and
Python code there is not safe in a process with threads. Arguments: launcher's pid, signal, uid and gid
(both -1: stay), further groups (such as ``44,109``), command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

STAY = -1  #: a uid or gid that means: as it is
PR_SET_PDEATHSIG = 1
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def die_with_parent(parent: int, number: int) -> None:
    """Let the kernel send this process the signal ``number`` when the thread that started it ends.

    Ends this process at once if its parent is not ``parent`` any longer: then no signal would come.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("The parent ended first.")


def command_that_dies_with(
    launcher: int, number: signal.Signals, uid: int, gid: int, command: list[str], *, groups: Sequence[int] = ()
) -> list[str]:
    """Say how to start ``command`` so that it gets the signal ``number`` when the thread that started it ends."""
    words = [str(launcher), str(int(number)), str(uid), str(gid), ",".join(map(str, groups))]
    return [sys.executable, "-I", "-S", __file__, *words, *command]


def main(words: list[str]) -> None:
    """Drop root, or the capabilities; ask for the signal (a change of user would clear it); become the command."""
    launcher, number, uid, gid = map(int, words[:4])
    groups, command = [int(group) for group in words[4].split(",") if group], words[5:]
    if uid >= 0:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
        ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # a change of user leaves these
    die_with_parent(launcher, number)
    os.execv(command[0], command)  # noqa: S606 (this program's purpose)


if __name__ == "__main__":
    main(sys.argv[1:])
