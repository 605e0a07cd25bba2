"""The memory of a worker that computes on the CPU, as Linux counts it."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

from tomaat.processes.proc import PROC, machine_memory_bytes, own_memory_bytes

RESET_PEAK = "5"  #: into ``clear_refs``: the peak of the resident set begins anew (proc_pid_clear_refs(5))


class ProcessMemory:
    """Counts by how much the process has grown since it was ready to load its first network.

    All resident pages are counted, also those of libraries that a task imports, and of volumes that are read beside it.
    The machine's memory is shared, so only a given limit is a total.
    """

    def __init__(self, limit_bytes: int | None, proc: Path = PROC) -> None:
        self.proc = proc
        self.total_bytes = limit_bytes
        self.at_first_bytes = own_memory_bytes("VmRSS", self.proc)
        self.peak_counts = False

    def in_use_bytes(self) -> int:
        """Tell by how much the process has grown."""
        return max(0, own_memory_bytes("VmRSS", self.proc) - self.at_first_bytes)

    def free_bytes(self) -> int:
        """Tell how much Linux can give without swapping, within the limit."""
        available = machine_memory_bytes("MemAvailable", self.proc)
        return available if self.total_bytes is None else min(available, self.total_bytes - self.in_use_bytes())

    def start_peak(self) -> None:
        """Let Linux begin the process's peak anew, where it can."""
        try:
            (self.proc / "self/clear_refs").write_text(RESET_PEAK)
        except OSError:
            self.peak_counts = False  # a kernel built without it: VmHWM is the peak of the whole life
        else:
            self.peak_counts = True

    def peak_bytes(self) -> int:
        """Tell the process's peak; where Linux does not tell it, the present size, which is less."""
        in_use = self.in_use_bytes()
        return max(in_use, own_memory_bytes("VmHWM", self.proc) - self.at_first_bytes) if self.peak_counts else in_use

    def give_back(self) -> None:
        """Free unreachable objects, and the pages that the C library keeps."""
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)
