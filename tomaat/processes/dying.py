"""Become another program that ends when its launcher does, without root where an account is given.

A program of its own, run by its path: what it does must happen between fork and exec, in this order, and Python code
there is not safe in a process with threads. Arguments: launcher's pid, signal, uid, gid (both -1: stay), command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def command_that_dies_with(launcher: int, number: signal.Signals, uid: int, gid: int, command: list[str]) -> list[str]:
    """Say how to start ``command`` so that it gets the signal ``number`` when the thread that started it ends."""
    return [sys.executable, "-I", "-S", __file__, str(launcher), str(int(number)), str(uid), str(gid), *command]


def main(launcher: int, number: int, uid: int, gid: int, command: list[str]) -> None:
    """Drop root, ask for the signal (a change of user would clear it), see that the launcher still lives, exec."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != launcher:
        sys.exit("The launcher ended first.")
    os.execv(command[0], command)  # noqa: S606 (this program's purpose)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5:])
