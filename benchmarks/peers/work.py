"""The work itself, as somebody writes it who calls the tasks directly: the peers' workers do it, and the reference."""

from __future__ import annotations

import importlib
import json
import os
import tarfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from tomaat.services import Task
from tomaat.volumes import Labels, Volume

TASKS = {
    "FloatComputation": ("CustomTasks.FloatComputationTask", "FloatComputationTask"),
    "GaussianSmoothing": ("CustomTasks.GaussianSmoothingTask", "GaussianSmoothingTask"),
    "Mark": ("benchmarks.peers.tasks", "MarkTask"),
    "Warm": ("benchmarks.peers.tasks", "WarmTask"),
}
PAYLOAD, RESULT = "payload.tar.gz", "result.tar.gz"


@cache
def loaded(service: str) -> Task:
    """Load a task, once."""
    module, name = TASKS[service]
    torch.set_num_threads(os.cpu_count() or 1)
    task: Task = getattr(importlib.import_module(module), name)()
    task.load(torch.device("cpu"))
    return task


def answer(service: str, folder: Path) -> None:
    """Make a folder's ``result.tar.gz``, which appears whole, of its ``payload.tar.gz``."""
    with tarfile.open(folder / PAYLOAD) as archive:
        archive.extractall(folder, filter="data")
    inputs = json.loads((folder / "main.json").read_text())["inputs"]
    files = {path.name.removeprefix("file-").partition(".")[0]: path for path in folder.glob("file-*")}
    (folder / "out").mkdir()
    part = folder / "result.part"
    with tarfile.open(part, "w:gz", compresslevel=1) as archive:
        for path in perform(service, inputs, files, folder / "out"):
            archive.add(path, path.name)
    part.rename(folder / RESULT)


def perform(service: str, inputs: Mapping[str, Any], files: Mapping[str, Path], out: Path) -> list[Path]:
    """Read the volumes, perform, write what comes out; return the files."""
    outputs = loaded(service).perform(**inputs, **{name: read(path) for name, path in files.items()})
    values = {}
    written = []
    for name, each in outputs.items():
        if isinstance(each, Volume | Labels):
            written.append(write(each, out / f"{name}.nii.gz"))
        else:
            values[name] = each
    (out / "result.json").write_text(json.dumps(values))
    return [out / "result.json", *written]


def read(path: Path) -> Volume:
    """Read a volume."""
    image = sitk.ReadImage(str(path))
    rows = image.GetDirection()
    return Volume(
        array=sitk.GetArrayFromImage(image).transpose(2, 1, 0),
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=(rows[:3], rows[3:6], rows[6:]),
    )


def write(output: Volume | Labels, path: Path) -> Path:
    """Write a volume."""
    volume = output.volume if isinstance(output, Labels) else output
    image = sitk.GetImageFromArray(volume.array.transpose(2, 1, 0))
    image.SetSpacing(volume.spacing_mm)
    image.SetOrigin(volume.origin_mm)
    image.SetDirection(np.asarray(volume.direction).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path
