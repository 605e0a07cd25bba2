"""Ask the NVIDIA driver which GPUs there are, and for their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml
import structlog

from tomaat.devices.device_reading import DeviceReading

log = structlog.get_logger()


class ComputeSourcesUnknown(Exception):
    """NVML is there but does not tell which GPUs there are; a machine with GPUs must not fall back in silence."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as NVML describes it."""

    uuid: str
    name: str
    memory_bytes: int


class NvmlReader:
    """Reads single figures of single GPUs; one that NVML does not tell (a vGPU's, or a MIG slice's) is ``None``.

    NVML stays open meanwhile, and is opened again after a GPU was not found.
    """

    def __init__(self) -> None:
        self.opened = False

    def read(self, uuid: str) -> DeviceReading:
        """Read a GPU's memory, use and temperature."""
        try:
            if not self.opened:
                pynvml.nvmlInit()
                self.opened = True
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError:
            self._close()
            return DeviceReading()
        memory = _told(pynvml.nvmlDeviceGetMemoryInfo, handle)
        use = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
        celsius = _told(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
        return DeviceReading(
            used_bytes=None if memory is None else int(memory.used),
            total_bytes=None if memory is None else int(memory.total),
            use=None if use is None else use.gpu / 100,
            celsius=None if celsius is None else float(celsius),
        )

    def _close(self) -> None:
        if self.opened:
            self.opened = False
            _told(pynvml.nvmlShutdown)


def _told(ask: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None


def find_gpus() -> list[Gpu]:
    """List the usable GPUs in NVML's order; one that NVML has lost is logged and left out.

    No driver and no NVML library mean that there is no GPU. Raises ``ComputeSourcesUnknown`` for any other failure.
    """
    with _nvml() as available:
        if not available:
            return []
        try:
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            raise ComputeSourcesUnknown(f"NVML cannot count the GPUs: {error}") from error
        return [gpu for index in range(count) if (gpu := _describe(index)) is not None]


def _describe(index: int) -> Gpu | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return Gpu(
            uuid=pynvml.nvmlDeviceGetUUID(handle),
            name=pynvml.nvmlDeviceGetName(handle),
            memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        )
    except pynvml.NVMLError as error:
        log.error("gpu.unusable", index=index, reason=str(error))
        return None


@contextmanager
def _nvml() -> Iterator[bool]:
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded) as error:
        log.info("nvml.absent", reason=str(error))
        yield False
        return
    except pynvml.NVMLError as error:
        raise ComputeSourcesUnknown(
            f"NVML does not start ({error}): mend the NVIDIA driver, or name the sources in TOMAAT_COMPUTE_SOURCES, "
            'for example {"cpu-0": null}'
        ) from error
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()
