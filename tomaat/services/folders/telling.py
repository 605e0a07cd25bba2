"""What a network folder offers, needs and refuses, in lines for its operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from Inputs import Input
from tomaat.contents.digest import sha256_of_weights
from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.folder_task import FolderTask
from tomaat.volumes import Volume

USUAL = Volume(  #: a CT of one value, which is not 0: else a crop would leave nothing of it; it takes no memory
    array=np.broadcast_to(np.ones(1, np.int16), (512, 512, 300)),
    spacing_mm=(0.8, 0.8, 1.0),
    origin_mm=(0.0, 0.0, 0.0),
    direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
)
ENDLESS = 2**60  #: bytes of a GPU on which all outputs lie
MOST_LABELS = 12  #: that are named


def lines_of(task: FolderTask) -> list[str]:
    """Tell what a folder offers: its form, its labels, its need for a usual CT, what it refuses."""
    told = [f"{task.task_identifier}: {task.kind}, in {task.place}", f"  {task.description}"]
    told += [f"  input {each.id}: {each.name}{_limits(each)}" for each in task.inputs]
    if task.label_names:
        told.append(f"  labels: {_labels(task.label_names)}")
    told.append(f"  memory for {_size(USUAL)}: {_usual_need(task)}")
    told.append("  seconds: not known before the first ticket, which teaches them, as each does its memory")
    told.append(f"  refuses: {'; '.join(refusals_of(task))}")
    told.append(f"  licence: {task.licence or 'not told; ask its authors before others use it'}")
    told.append(f"  SHA-256 of the folder: {sha256_of_weights(task.place)}")
    return told


def refusals_of(task: FolderTask) -> list[str]:
    """List the tickets that a folder will refuse, beside those that its form does."""
    volumes = [each for each in task.inputs if each.type == "volume"]
    told = []
    for each in volumes:
        modalities = getattr(each, "modalities", None)
        if modalities:
            told.append(f"{each.id}: a DICOM series that is not {' or '.join(modalities)}")
    if len(volumes) > 1:
        told.append(f"volumes on another grid than {volumes[0].id}")
    return [*told, *task.refuses, "what has no room in the memory, with the number"]


def expected_of(task: FolderTask, inputs: Mapping[str, Any], *, gpu_bytes: int | None) -> ExpectedMemory | None:
    """Ask a task what it needs for these volumes, with the defaults of all other inputs."""
    values = {each.id: getattr(each, "default", None) for each in task.inputs}
    return task.expected_memory({**values, **inputs}, gpu_bytes=gpu_bytes)


def _usual_need(task: FolderTask) -> str:
    scans = {each.id: USUAL for each in task.inputs if each.type == "volume"}
    try:
        on_cpu, on_gpu = (expected_of(task, scans, gpu_bytes=each) for each in (None, ENDLESS))
    except Exception:  # noqa: BLE001 (whatever it is, the folder may serve all the same)
        on_cpu = on_gpu = None
    if on_cpu is None or on_gpu is None:
        return "not known before the first ticket"
    return f"on a CPU {on_cpu.told(on_gpu=False)}; with a GPU {on_gpu.told(on_gpu=True)}"


def _limits(each: Input) -> str:
    """Say an input's default, where it has one."""
    default = getattr(each, "default", None)
    return "" if default is None else f" (default {default})"


def _labels(names: Mapping[int, str]) -> str:
    told = [f"{value} {name}" for value, name in list(names.items())[:MOST_LABELS]]
    return ", ".join([*told, *([f"and {len(names) - MOST_LABELS} more"] if len(names) > MOST_LABELS else [])])


def _size(volume: Volume) -> str:
    mm = " x ".join(f"{each:g}" for each in volume.spacing_mm)
    return f"a volume of {' x '.join(map(str, volume.array.shape))} voxels of {mm} mm"
