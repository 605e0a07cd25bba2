"""One device, and the workers' part of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ComputeSource:
    """A GPU, or the CPU where there is none."""

    name: str  #: ``<HOST_NAME>/<GPU's UUID | cpu-n>``
    device_name: str
    torch_device: str  #: as the worker sees it: ``cuda:0`` is the one GPU of its CUDA_VISIBLE_DEVICES
    visible_devices: str  #: the worker's CUDA_VISIBLE_DEVICES: the GPU's UUID, or nothing
    memory_bytes: int | None  #: that networks and tickets may take; ``None``: all free memory
    services: tuple[str, ...] | None  #: that it may offer; ``None``: every service that loads
    problem: str | None  #: why it cannot be used

    @property
    def on_gpu(self) -> bool:
        """Whether its workers use a GPU."""
        return self.torch_device != "cpu"
