"""Reads the devices' figures, in a thread of its own: a driver may hang while all else goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_reading import DeviceReading
from tomaat.devices.machine import Machine
from tomaat.devices.nvml import NvmlReader
from tomaat.devices.sources import CPU


class DeviceWatch:
    """Keeps each source's latest reading until it is taken; the reading of a CPU source is the whole machine's."""

    def __init__(self, sources: Sequence[ComputeSource], *, every_seconds: float) -> None:
        self.keys = {source.name: source.name.partition("/")[2] for source in sources}
        self.every_seconds = every_seconds
        self.latest: dict[str, DeviceReading] = {}
        self.closing = threading.Event()
        threading.Thread(target=self._watch, name="devices", daemon=True).start()

    def take(self, name: str) -> DeviceReading | None:
        """Take a source's reading, if there is one that was not taken."""
        return self.latest.pop(name, None)

    def close(self) -> None:
        """Read no more; a thread that hangs is left, and ends with the process."""
        self.closing.set()

    def _watch(self) -> None:
        machine, nvml = Machine(), NvmlReader()
        while not self.closing.wait(self.every_seconds):
            of_machine = machine.read()
            for name, key in self.keys.items():
                self.latest[name] = of_machine if CPU.fullmatch(key) else nvml.read(key)
