"""How a device's memory is measured."""

from __future__ import annotations

from typing import Protocol


class DeviceMemory(Protocol):
    """The memory in which a worker keeps its networks; ``CudaMemory`` and ``ProcessMemory`` are the two kinds."""

    @property
    def total_bytes(self) -> int | None:
        """The bytes that networks and tickets may take together; ``None``: all free memory."""

    def in_use_bytes(self) -> int:
        """Measure the bytes that networks and tickets hold now."""

    def free_bytes(self) -> int:
        """Measure the bytes that they could still take."""

    def start_peak(self) -> None:
        """Measure peaks from now on."""

    def peak_bytes(self) -> int:
        """Tell the most that was in use at once since ``start_peak``."""

    def give_back(self) -> None:
        """Give back the memory that is only kept for later use."""
