"""Find this host's compute sources."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.nvml import ComputeSourcesUnknown, Gpu, find_gpus

CPU = re.compile(r"cpu-\d+")


def find_sources(
    host_name: str,
    *,
    wanted: Mapping[str, Sequence[str] | None] | None,
    devices: Mapping[str, str],
    memory_bytes: Mapping[str, int],
) -> list[ComputeSource]:
    """List the compute sources that were ``wanted``, else every GPU that NVML shows, else ``cpu-0``.

    ``wanted`` maps a source's key (a GPU's UUID or ``cpu-n``) to its services, ``None`` for all. A wanted GPU that
    NVML does not show is listed with a problem. ``devices`` maps a key to torch's device where that is not the GPU,
    ``memory_bytes`` to how much may be taken of its memory where that is not all. Raises ``ComputeSourcesUnknown``
    when NVML fails, or a key is neither a GPU's UUID nor ``cpu-n``.
    """
    asked = wanted is None or any(not CPU.fullmatch(key) for key in wanted)
    gpus = {gpu.uuid: gpu for gpu in find_gpus()} if asked else {}
    if wanted is None:
        wanted = dict.fromkeys(gpus or ["cpu-0"])
    return [
        _source(host_name, key, services, gpus, device=devices.get(key), limit_bytes=memory_bytes.get(key))
        for key, services in wanted.items()
    ]


def _source(
    host_name: str,
    key: str,
    services: Sequence[str] | None,
    gpus: Mapping[str, Gpu],
    *,
    device: str | None,
    limit_bytes: int | None,
) -> ComputeSource:
    gpu = gpus.get(key)
    sizes = (limit_bytes, None if gpu is None else gpu.memory_bytes)
    is_cpu = CPU.fullmatch(key) is not None
    if not is_cpu and not key.startswith(("GPU-", "MIG-")):
        raise ComputeSourcesUnknown(f"{key}: a compute source is cpu-0, cpu-1, … or a GPU's UUID (GPU-…)")
    problem = None if is_cpu or gpu else f"{key}: NVML shows no GPU of this UUID; it shows {', '.join(gpus) or 'none'}"
    return ComputeSource(
        name=f"{host_name}/{key}",
        device_name="CPU" if gpu is None else gpu.name,
        torch_device=device or ("cpu" if is_cpu else "cuda:0"),
        visible_devices="" if is_cpu or device == "cpu" else key,
        memory_bytes=min((size for size in sizes if size is not None), default=None),
        services=None if services is None else tuple(services),
        problem=problem,
    )


__all__ = ["ComputeSourcesUnknown", "find_sources"]


def threads_of_each(sources: Sequence[ComputeSource], lanes: int) -> int:
    """Tell how many threads a worker may compute with, so that those of the CPU share its cores: one for each lane."""
    on_cpu = lanes * sum(not source.on_gpu for source in sources)
    return max(1, (os.cpu_count() or 1) // max(1, on_cpu))
