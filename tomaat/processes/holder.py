"""Name the process that holds a lease, and tell when one on this machine is gone."""

from __future__ import annotations

import os
from pathlib import Path


def this_process() -> str:
    """Name this process so that no other, at any time, has the same name."""
    return f"{_machine()}/{os.getpid()}/{start_time(os.getpid())}"


def start_time(pid: int) -> int | None:
    """Tell when a process started, in clock ticks since boot; ``None`` if it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_gone(holder: str) -> bool:
    """Tell whether a holder was a process of this machine's present boot that runs no longer."""
    machine, _, process = holder.rpartition("/")
    machine, _, pid = machine.rpartition("/")
    return machine == _machine() and str(start_time(int(pid))) != process


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
