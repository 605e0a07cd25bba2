"""The memory and the processors of this machine, as Linux counts them."""

from __future__ import annotations

from pathlib import Path

from tomaat.devices.device_reading import DeviceReading
from tomaat.worker.process_memory import PROC, kibibytes

IDLE = (3, 4)  #: the places of "idle" and "iowait" in the line "cpu" (proc_stat(5))
MOST_FIELDS = 8  #: the further ones are counted in the first two already


class Machine:
    """Tells how busy the processors were since it was asked last."""

    def __init__(self, proc: Path = PROC) -> None:
        self.proc = proc
        self.before = self._ticks()

    def read(self) -> DeviceReading:
        """Read memory and use; without a temperature, since each machine has others."""
        total = kibibytes(self.proc / "meminfo", "MemTotal")
        now = self._ticks()
        idle, all_ticks = (later - earlier for later, earlier in zip(now, self.before, strict=True))
        self.before = now
        return DeviceReading(
            used_bytes=total - kibibytes(self.proc / "meminfo", "MemAvailable"),
            total_bytes=total,
            use=min(1.0, max(0.0, 1 - idle / all_ticks)) if all_ticks > 0 else None,
        )

    def _ticks(self) -> tuple[int, int]:
        first = (self.proc / "stat").read_text().split("\n", 1)[0]
        ticks = [int(field) for field in first.split()[1 : MOST_FIELDS + 1]]
        return sum(ticks[place] for place in IDLE), sum(ticks)
