"""What can be measured of a device's memory."""

from __future__ import annotations

from typing import Protocol


class DeviceMemory(Protocol):
    """The memory in which a worker keeps its networks; ``CudaMemory`` and ``ProcessMemory`` are the two kinds."""

    @property
    def total_bytes(self) -> int | None:
        """What networks and tickets may take together; ``None``: whatever is free."""

    def in_use_bytes(self) -> int:
        """Measure what networks and tickets hold now."""

    def free_bytes(self) -> int:
        """Measure what they could still take."""

    def start_peak(self) -> None:
        """Measure peaks from now on."""

    def peak_bytes(self) -> int:
        """Tell the most that was in use at once since ``start_peak``."""

    def give_back(self) -> None:
        """Give back what is held for later use only."""
