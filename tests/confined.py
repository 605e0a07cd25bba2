"""Run a program under what a unit of ``deploy/systemd`` restricts, as far as that goes without systemd.

``python confined.py UNIT UID WRITABLE COMMAND…``: no new privileges, no capabilities, the system calls and address
families that the unit names (with systemd's own lists), no memory that is written and then run where the unit says so.
As root, the file system is read-only besides too, but for WRITABLE, and the program runs as UID.
"""

from __future__ import annotations

import configparser
import ctypes
import os
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_SET_MDWE = 38, 24, 22, 65
CLONE_NEWNS = 0x20000
X86_64 = 0xC000003E
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, EPERM, EAFNOSUPPORT = 0x7FFF0000, 0x00050001, 0x00050061
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16
SYSTEM_CALL_SOCKET = 41


def read(unit: Path) -> dict[str, str]:
    """Read a unit's section Service; of a setting that is repeated the last one counts."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return dict(parser["Service"])


def system_calls(names: list[str]) -> set[int]:
    """Find the numbers of system calls and of systemd's groups of them; those of other machines have none here."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for line in listed.splitlines():
        word = line.strip()
        if word and not word.startswith("#"):
            groups.setdefault(word, []) if not line.startswith(" ") else groups[list(groups)[-1]].append(word)
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", NUMBERS.read_text()))
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name.startswith("@"):
            waiting += groups[name]
        elif name in numbers:
            found.add(int(numbers[name]))
    return found


def allow_only(calls: set[int], families: list[str]) -> None:
    """Let the kernel refuse all other system calls, and sockets of all other families."""
    program = [(LOAD, 0, 0, NUMBER_AT), (EQUAL, 0, 3 + 2 * len(families), SYSTEM_CALL_SOCKET)]
    program += [(LOAD, 0, 0, FIRST_ARGUMENT_AT)]
    for family in families:
        program += [(EQUAL, 0, 1, int(getattr(socket, family))), (RETURN, 0, 0, ALLOW)]
    program += [(RETURN, 0, 0, EAFNOSUPPORT), (LOAD, 0, 0, NUMBER_AT)]
    for call in sorted(calls):
        program += [(EQUAL, 0, 1, call), (RETURN, 0, 0, ALLOW)]
    program += [(RETURN, 0, 0, EPERM)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    _prctl(PR_SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))


def open_way(*places: Path) -> None:
    """Let other users reach places below a folder that only root may enter: all else in there is hidden from them."""
    for parent in (parent for place in places for parent in reversed(place.parents)):
        if not parent.stat().st_mode & 0o001:
            children = {parent / place.relative_to(parent).parts[0] for place in places if parent in place.parents}
            opened = {child: os.open(child, os.O_PATH | os.O_DIRECTORY) for child in children}
            _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", parent)
            for child, descriptor in opened.items():
                child.mkdir()
                _mount("--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{descriptor}", child)
                os.close(descriptor)


def make_read_only(writable: Path) -> None:
    """Remount what is mounted, for this program and its children alone."""
    if LIBC.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("--make-rprivate", "/")
    open_way(Path(sys.executable).resolve())
    _mount("--bind", writable, writable)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1]
        if place == str(writable) or re.match(r"/(proc|sys|dev)(/|$)", place):
            continue
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=False, capture_output=True)
    if not os.statvfs("/usr").f_flag & os.ST_RDONLY:
        raise OSError("the file system is writable")


def main(unit: Path, uid: int, writable: Path, command: list[str]) -> None:
    """Confine this process, and become the program."""
    service = read(unit)
    calls = system_calls(service["SystemCallFilter"].split())
    if os.geteuid() == 0:
        make_read_only(writable)
        for capability in range(64):
            LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    if service.get("MemoryDenyWriteExecute") == "yes":
        LIBC.prctl(PR_SET_MDWE, 1, 0, 0, 0)  # Linux 6.3; systemd refuses some calls instead
    allow_only(calls, service["RestrictAddressFamilies"].split())
    os.execv(command[0], command)  # noqa: S606 (this program's purpose)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _prctl(option: int, *values: int | bytes) -> None:
    if LIBC.prctl(option, *values, *([0] * (4 - len(values)))) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
