"""Name the process that holds a lease, and tell when one on this machine is gone."""

from __future__ import annotations

import os

from tomaat.processes.proc import boot_and_namespace, is_hidden, start_time


def this_process() -> str:
    """Name this process so that no other, at any time, has the same name."""
    return f"{boot_and_namespace()}/{os.getpid()}/{start_time(os.getpid())}"


def is_gone(holder: str) -> bool:
    """Tell whether a holder was a process of this machine's present boot that runs no longer.

    Of one that is hidden from this process nobody can tell: it counts as running.
    """
    machine, _, process = holder.rpartition("/")
    machine, _, pid = machine.rpartition("/")
    return machine == boot_and_namespace() and str(start_time(int(pid))) != process and not is_hidden(int(pid))
