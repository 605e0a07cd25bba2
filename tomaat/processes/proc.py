"""Readers of ``/proc`` (proc(5)), one for each figure."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from pathlib import Path

PROC = Path("/proc")
TICK_FIELDS = 8  #: of the line "cpu"; the further ones are counted in the first two already
IDLE = (3, 4)  #: the places of "idle" and "iowait" in it
PORTS_FOR_ALL = 1024  #: where Linux does not say from which port on anybody may listen


# One process


def start_time(pid: int) -> int | None:
    """Tell when a process started, in clock ticks since boot; ``None`` if it is gone or a zombie."""
    try:
        fields = _stat_of(str(pid))
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_hidden(pid: int) -> bool:
    """Tell whether a process is there of which ``/proc`` tells nothing: systemd's ``ProtectProc`` hides the doors."""
    if (PROC / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def session_members(leader: int) -> list[int]:
    """List the processes of the session that ``leader`` began, itself included."""
    found = []
    for pid in _pids():
        with contextlib.suppress(OSError):
            if int(_stat_of(str(pid))[3]) == leader:
                found.append(pid)
    return found


def own_children() -> set[int]:
    """List the children of this process, those included that it has adopted."""
    children: set[int] = set()
    for thread in (PROC / "self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended just now, and its children are another thread's
            children.update(map(int, (thread / "children").read_text(encoding="ascii").split()))
    return children


def _pids() -> list[int]:
    return [int(folder.name) for folder in PROC.iterdir() if folder.name.isdecimal()]


def own_capabilities() -> int:
    """Tell the capabilities that this process has, one bit each (capabilities(7))."""
    status = (PROC / "self/status").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^CapEff:\s+([0-9a-f]+)$", status, re.MULTILINE)
    return 0 if found is None else int(found[1], 16)


def own_environment_place() -> tuple[int, int]:
    """Tell where in this process's memory the variables begin and end that it was started with."""
    fields = _stat_of("self")
    return int(fields[47]), int(fields[48])


def _stat_of(process: str) -> list[str]:
    """Split ``/proc/<pid>/stat`` behind the program's name, which may hold anything: the first field is the state."""
    stat = (PROC / process / "stat").read_text(encoding="utf-8", errors="replace")
    return stat[stat.rindex(")") + 2 :].split()


def command_lines() -> dict[int, list[str]]:
    """Tell the arguments of every process by its pid; a zombie has none."""
    found = {}
    for pid in _pids():
        with contextlib.suppress(OSError):
            found[pid] = (PROC / str(pid) / "cmdline").read_text(errors="replace").split("\0")
    return found


def own_mapped_bytes() -> int:
    """Tell how much address space this process has."""
    return int((PROC / "self/statm").read_text(encoding="ascii").split()[0]) * mmap.PAGESIZE


def own_threads() -> int:
    """Count the threads of this process."""
    return sum(1 for _ in (PROC / "self/task").iterdir())


def own_memory_bytes(name: str, proc: Path = PROC) -> int:
    """Tell a figure of this process's memory, such as ``VmRSS``."""
    return _kibibytes(proc / "self/status", name)


# The machine


def boot_and_namespace() -> str:
    """Name this boot of this machine, and the namespace in which pids are counted here."""
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{(PROC / 'self/ns/pid').stat().st_ino}"


def network_namespace() -> int:
    """Tell the network's number in which this process has its addresses: the machine's, or a container's."""
    return (PROC / "self/ns/net").stat().st_ino


def machine_memory_bytes(name: str, proc: Path = PROC) -> int:
    """Tell a figure of the machine's memory, such as ``MemAvailable``."""
    return _kibibytes(proc / "meminfo", name)


def processor_ticks(proc: Path = PROC) -> tuple[int, int]:
    """Tell the clock ticks since boot in which the processors were idle, and all ticks, of all processors together."""
    first = (proc / "stat").read_text().split("\n", 1)[0]
    ticks = [int(field) for field in first.split()[1 : TICK_FIELDS + 1]]
    return sum(ticks[place] for place in IDLE), sum(ticks)


def lowest_open_port() -> int:
    """Tell from which port on this process may listen."""
    if os.geteuid() == 0:
        return 0
    try:
        return int((PROC / "sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except FileNotFoundError:
        return PORTS_FOR_ALL


def _kibibytes(file: Path, name: str) -> int:
    """Read a line such as ``VmRSS:     1024 kB``, in bytes."""
    with file.open("rb", buffering=0) as lines:
        found = re.search(rf"^{name}:\s+(\d+) kB$".encode(), lines.read(), re.MULTILINE)
    if found is None:
        raise OSError(f"{file}: has no line {name}")
    return 1024 * int(found[1])
