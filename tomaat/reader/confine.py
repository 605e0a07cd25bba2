"""Take from this process what reading an image never needs: other files, the network, other processes.

On top of the resource limits, where the kernel offers it: Landlock for files (Linux 5.13), seccomp for system calls.
Source of the numbers: Linux's ``uapi/linux/landlock.h``, ``uapi/linux/filter.h`` and its tables of system calls. A test
holds the calls' numbers against libseccomp (``docs/decisions/0018-numbers-of-system-calls.md``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
SECCOMP_MODE_FILTER = 2

LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446  # the same on all machines
CREATE_VERSION = 1
RULE_PATH_BENEATH = 1
READ_FILE = 1 << 2
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  #: Landlock's version → how many rights to files it knows
NETWORK_VERSION, SCOPE_VERSION = 4, 6
BOTH = 0b11  #: bind and connect; abstract sockets and signals

LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050001  # the last answers EPERM
NUMBER_AT, MACHINE_AT = 0, 4
X32_CALLS = 0x40000000
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

#: What is refused: x86_64's number, aarch64's number. A list of what is allowed would differ with each libc and Python.
REFUSED_CALLS = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "add_key": (248, 217),
    "bind": (49, 200),
    "bpf": (321, 280),
    "chmod": (90, None),
    "chown": (92, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "finit_module": (313, 273),
    "fork": (57, None),
    "fsetxattr": (190, 7),
    "futimesat": (261, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_setup": (425, 425),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "lchown": (94, None),
    "listen": (50, 201),
    "lsetxattr": (189, 6),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgctl": (71, 187),
    "msgget": (68, 186),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "open_by_handle_at": (304, 265),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "setrlimit": (160, 164),
    "setxattr": (188, 5),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "truncate": (76, 45),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
    "vfork": (58, None),
}


def landlock(readable: int | None) -> None:
    """Open no file from now on but the one behind the descriptor ``readable``; raises ``OSError``.

    Files in memory are none of Landlock's business: they stay readable.
    """
    version = _call(LANDLOCK_CREATE, None, 0, CREATE_VERSION)
    rights = (1 << FILE_RIGHTS[max(known for known in FILE_RIGHTS if known <= version)]) - 1
    network = BOTH if version >= NETWORK_VERSION else 0
    scope = BOTH if version >= SCOPE_VERSION else 0
    known_bytes = 24 if scope else 16 if network else 8
    ruleset = _call(LANDLOCK_CREATE, struct.pack("QQQ", rights, network, scope)[:known_bytes], known_bytes, 0)
    if readable is not None:
        _call(LANDLOCK_ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", READ_FILE, readable), 0)
    _no_new_privileges()
    _call(LANDLOCK_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def seccomp() -> None:
    """Let the kernel answer EPERM to each call of ``REFUSED_CALLS`` from now on; raises ``OSError``."""
    machine = platform.machine()
    if machine not in MACHINES:
        raise OSError(f"no table of system calls for {machine}")
    column = list(MACHINES).index(machine)
    numbers = [call[column] for call in REFUSED_CALLS.values() if call[column] is not None]
    program = [
        (LOAD, 0, 0, MACHINE_AT),
        (EQUAL, 1, 0, MACHINES[machine]),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
        (AT_LEAST, len(numbers) + 1, 0, X32_CALLS),
        *((EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filled = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    _no_new_privileges()
    if LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filled, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def offered() -> list[str]:
    """Tell which of ``landlock`` and ``seccomp`` work here, by trying each in a fork."""
    tried: dict[str, Callable[[], None]] = {"landlock": lambda: landlock(None), "seccomp": seccomp}
    return [name for name, guard in tried.items() if _works(guard)]


def _works(guard: Callable[[], None]) -> bool:
    child = os.fork()
    if child == 0:
        try:
            guard()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _no_new_privileges() -> None:
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no new privileges")


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    answer: int = LIBC.syscall(ctypes.c_long(number), *words)
    if answer < 0:
        raise OSError(ctypes.get_errno(), "landlock")
    return answer
