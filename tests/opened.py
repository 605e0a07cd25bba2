"""Run a program where other users may run this Python, and, as root, with a unit's capabilities alone.

``python -m tests.opened UID CAPABILITIES COMMAND…``: UID -1 stays root; CAPABILITIES are numbers with commas between,
which the program keeps as that user, as systemd's ``AmbientCapabilities`` gives them. GROUPS in the environment adds
groups.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from tests.confined import CLONE_NEWNS, LIBC, _mount, open_way

PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 47, 2
CAPABILITY_VERSION_3 = 0x20080522


def become(uid: int, capabilities: list[int]) -> None:
    """Become a user who keeps these capabilities, and whose programs have them."""
    groups = [int(group) for group in os.environ.pop("GROUPS", "").split(",") if group]
    LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(groups)
    os.setgid(uid)
    os.setuid(uid)
    bits = sum(1 << number for number in capabilities)
    head = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable; the upper halves
    if LIBC.capset(head, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    for number in capabilities:
        if LIBC.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "ambient")


def main(uid: int, capabilities: list[int], command: list[str]) -> None:
    """Open the way to Python and to this code, for this program and its children alone, and become the command."""
    if LIBC.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")
    open_way(Path(sys.executable).resolve(), Path(__file__).resolve().parents[1])
    if uid >= 0:
        become(uid, capabilities)
    os.execv(command[0], command)  # noqa: S606 (this program's purpose)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(number) for number in sys.argv[2].split(",") if number], sys.argv[3:])
