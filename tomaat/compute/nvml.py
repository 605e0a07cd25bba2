"""Ask the NVIDIA driver which GPUs there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pynvml
import structlog

log = structlog.get_logger()


class ComputeSourcesUnknown(Exception):
    """NVML is there but does not tell which GPUs there are; a machine with GPUs must not fall back in silence."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as NVML describes it."""

    uuid: str
    name: str
    memory_bytes: int


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
