"""Look at the compute sources: the GPUs as NVML and as torch see them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from tomaat.devices.compute_source import ComputeSource
from tomaat.doctor.finding import Finding, ok, warning, wrong
from tomaat.doctor.programs import NoAnswer, ask
from TOMAATSettings import Settings

ABOUT = "GPUs"
NVML_SECONDS = 60.0
DRIVER = "dmesg (Xid) says why; start the machine again if it does not come back"


def look_at_devices(settings: Settings) -> Iterator[Finding]:
    """Tell which sources TaskScheduling would hold, and whether torch can compute on each."""
    asked = {
        "host_name": settings.HOST_NAME,
        "wanted": settings.COMPUTE_SOURCES,
        "devices": settings.COMPUTE_DEVICES,
        "memory_bytes": settings.COMPUTE_MEMORY_BYTES,
    }
    try:
        nvml = ask("tomaat.doctor.ask_nvml", json.dumps(asked), environment=os.environ, seconds=NVML_SECONDS)
    except NoAnswer as error:
        yield wrong(ABOUT, f"the program that asks NVML {error}", DRIVER)
        return
    if "unknown" in nvml:
        yield wrong(ABOUT, nvml["unknown"], "TaskScheduling does not start like this; see nvidia-smi")
        return
    for lost in nvml["lost"]:
        yield wrong(ABOUT, f"NVML has lost GPU {lost}", DRIVER)
    found = [ComputeSource(**source) for source in nvml["sources"]]
    for source in found:
        if source.problem is not None:
            mend = "nvidia-smi -L shows the UUIDs; set TOMAAT_COMPUTE_SOURCES to those that are there"
            yield wrong(ABOUT, source.problem, mend)
    try:
        torch = ask("tomaat.doctor.ask_torch", environment=os.environ)
    except NoAnswer as error:
        yield wrong("torch", f"the program that imports it {error}", "install requirements.txt again")
        return
    yield from _compare([source for source in found if source.problem is None], torch)


def _compare(sources: list[ComputeSource], torch: dict[str, Any]) -> Iterator[Finding]:
    if "missing" in torch:
        yield wrong("torch", torch["missing"], "pip install -r requirements.txt")
        return
    for fault in torch["faults"]:
        yield wrong("torch", f"a GPU cannot be used: {fault}", "is the driver as new as this torch needs it?")
    wanted = [source.name.partition("/")[2] for source in sources if source.torch_device.startswith("cuda")]
    lacking = [key for key in wanted if key not in torch["gpus"] and not key.startswith("MIG-")]
    if lacking:
        built = f"for CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
        mend = (
            "is the driver as new as it needs, and CUDA_VISIBLE_DEVICES unset?"
            if torch["cuda"]
            else f"install its CUDA build: pip install torch=={torch['version'].partition('+')[0]} from PyPI"
        )
        says = f"torch {torch['version']}, built {built}, does not see {', '.join(lacking)}, which NVML shows"
        yield wrong("torch", says, mend)
    if not wanted and torch["gpus"]:
        says = f"torch sees {', '.join(torch['gpus'])}, and no source uses it"
        yield warning("torch", says, "is NVML's library (libnvidia-ml.so.1) there? else see TOMAAT_COMPUTE_SOURCES")
    if not lacking and not torch["faults"]:
        yield ok("torch", f"{torch['version']}; sources: {', '.join(source.name for source in sources) or 'none'}")
