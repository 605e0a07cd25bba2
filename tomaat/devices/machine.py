"""The memory and the processors of this machine, as Linux counts them."""

from __future__ import annotations

from pathlib import Path

from tomaat.devices.device_reading import DeviceReading
from tomaat.processes.proc import PROC, machine_memory_bytes, processor_ticks


class Machine:
    """Tells how busy the processors were since it was asked last."""

    def __init__(self, proc: Path = PROC) -> None:
        self.proc = proc
        self.before = processor_ticks(self.proc)

    def read(self) -> DeviceReading:
        """Read memory and use; without a temperature, since each machine has others."""
        total = machine_memory_bytes("MemTotal", self.proc)
        now = processor_ticks(self.proc)
        idle, all_ticks = (later - earlier for later, earlier in zip(now, self.before, strict=True))
        self.before = now
        return DeviceReading(
            used_bytes=total - machine_memory_bytes("MemAvailable", self.proc),
            total_bytes=total,
            use=min(1.0, max(0.0, 1 - idle / all_ticks)) if all_ticks > 0 else None,
        )
