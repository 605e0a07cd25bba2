"""What a client waits for beside the network, for whole volumes: ``python3 -m benchmarks.volumes``.

A CT (int16, 512 x 512 x 300) goes through a task that performs for a second and gives ``Labels`` on its grid; in turns
with it, *directly*: read with SimpleITK, the same ``perform``, written as ``.nii.gz`` with SimpleITK. Then the head that
``BrainExtraction`` has as its example. The rest is what the service took beyond ``perform``: upload, reading, packing,
sealing, download.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import platform
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests
import SimpleITK as sitk
import torch

from benchmarks.instances import instances
from benchmarks.measure import one_ticket
from CustomTasks.BrainExtractionTask import BrainExtractionTask
from tests.service import REPOSITORY
from tomaat.archives import pack
from tomaat.volumes import Labels, Volume

SHAPE = (512, 512, 300)  #: i, j, k
HEAD = REPOSITORY / "CustomTasks/examples/phantom_head.nii.gz"
TASK = '''
import time
from pathlib import Path

import numpy as np

from Inputs import FloatInput, IntInput, StringInput, VolumeInput
from tomaat.services import Task
from tomaat.volumes import Labels


class Labelled(Task):
    """Passes the time as a network does, then gives labels that it has."""

    task_identifier = "Labelled"
    description = "Gives labels."
    inputs = (
        VolumeInput("scan", "Scan"),
        IntInput("classes", "Number of labels", minimum=1),
        StringInput("kind", "The voxels' type, and the order of the array: C or F"),
        FloatInput("seconds", "How long it performs", minimum=0.0),
    )

    def load(self, device):
        del device
        self.drawn = np.load(Path(__file__).with_name("drawn.npy"))
        self.found = None, None

    def perform(self, scan, classes, kind, seconds):
        began = time.monotonic()
        if self.found[0] != (classes, kind):
            dtype, order = kind.split()
            self.found = (classes, kind), (self.drawn % (classes + 1)).astype(dtype, order=order)
        names = {n: f"structure {n}" for n in range(1, classes + 1)}
        found = Labels(volume=scan.like(self.found[1]), names=names)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        return {"found": found}
'''


def make_ct() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw a body with some noise in air, and 118 labels in it; arrays of shape (i, j, k), as they lie in a file."""
    generator = np.random.default_rng(1)
    z, y, x = (np.linspace(-1, 1, count, dtype=np.float32) for count in reversed(SHAPE))
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    voxels = np.full(SHAPE[::-1], -1000, np.int16)
    drawn = np.zeros(SHAPE[::-1], np.uint8)
    for k in range(len(z)):
        noise = generator.normal(40, 6, (SHAPE[1], SHAPE[0])).astype(np.float32)
        body = (x[0] ** 2 / 0.7 + y[0] ** 2 / 0.3) < 1
        voxels[k][body] = (noise + 60 * np.sin(9 * x[0]) * np.cos(7 * y[0]) * np.sin(5 * z[k]))[body]
    for number in range(1, 119):
        middle, radius = generator.uniform(-0.5, 0.5, 3), generator.uniform(0.05, 0.25)
        wave = 1 + 0.2 * np.sin(40 * x[0]) * np.sin(37 * y[0])
        for k in np.flatnonzero(np.abs(z.ravel() - middle[0]) < radius):
            apart = (z[k] - middle[0]) ** 2 + (y[0] - middle[1]) ** 2 + (x[0] - middle[2]) ** 2
            drawn[k][apart < radius**2 * wave] = number
    return voxels.transpose(2, 1, 0), drawn.transpose(2, 1, 0)


def payload_of(inputs: dict[str, Any], name: str, file: Path) -> bytes:
    """Pack a payload with one volume."""
    with tempfile.TemporaryDirectory() as folder:
        main = Path(folder) / "main.json"
        main.write_text(json.dumps({"inputs": inputs}))
        pack([("main.json", main), (f"file-{name}.nii.gz", file)], Path(folder) / "payload")
        return (Path(folder) / "payload").read_bytes()


def directly(task: Any, file: Path, argument: str, inputs: dict[str, Any], folder: Path) -> float:
    """Do what a program without a service does; tell the seconds."""
    began = time.perf_counter()
    image = sitk.ReadImage(str(file))
    axes = np.reshape(image.GetDirection(), (3, 3))
    scan = Volume(
        array=sitk.GetArrayFromImage(image).transpose(2, 1, 0),
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=tuple(map(tuple, axes.tolist())),
    )
    for name, value in task.perform(**{argument: scan}, **inputs).items():
        assert isinstance(value, Labels)
        array = np.asarray(value.volume.array)
        found = sitk.GetImageFromArray(
            array.astype(np.uint8 if array.dtype == bool else array.dtype).transpose(2, 1, 0)
        )
        found.CopyInformation(image)
        sitk.WriteImage(found, str(folder / f"{name}.nii.gz"), useCompression=True)
    return time.perf_counter() - began


def compare(instance: Any, task: Any, argument: str, file: Path, inputs: dict[str, Any], turns: int) -> None:
    """Print the medians of some turns, in each of which the service comes first, and of the first ticket alone."""
    data = payload_of(inputs, argument, file)
    session, through, direct, rest, read = requests.Session(), [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns + 1):
            began = time.perf_counter()
            packed = one_ticket(instance, session, data, task.task_identifier)
            through.append(time.perf_counter() - began)
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                result = archive.extractfile("result.json")
                assert result is not None
                told = json.load(result)["timings_seconds"]
            rest.append(through[-1] - told["perform"])
            read.append(told["read"])
            direct.append(directly(task, file, argument, inputs, Path(folder)))
    ours, theirs = statistics.median(through[1:]), statistics.median(direct[1:])
    what = f"{task.task_identifier} {json.dumps(inputs)}"
    figures = f"{ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} | {statistics.median(rest[1:]):.2f} s"
    print(
        f"| {what} | {figures} | {statistics.median(read[1:]):.2f} s | {through[0]:.2f} s, {direct[0]:.2f} s |",
        flush=True,
    )


def imported(file: Path) -> Any:
    """Import the task's file, as a worker does."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Print a line for each kind of labels, and one for the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kinds", default="2 uint8 F,59 uint8 F,59 uint8 C,118 uint8 F,118 uint16 F")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| what | service | direct | ratio | beyond perform | of it reading | the first: service, direct |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    gpu = {} if arguments.device == "cpu" else {"COMPUTE_SOURCES": "auto"}
    with instances() as (folder, start):
        tasks = folder / "tasks"
        tasks.mkdir()
        voxels, drawn = make_ct()
        np.save(tasks / "drawn.npy", drawn)
        (tasks / "Labelled.py").write_text(TASK)
        ct = folder / "ct.nii.gz"
        image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
        image.SetSpacing((0.8, 0.8, 1.5))
        sitk.WriteImage(image, str(ct), useCompression=True)
        del voxels, drawn, image
        print(f"(the CT: {ct.stat().st_size / 1e6:.0f} MB packed)", flush=True)
        labelled = imported(tasks / "Labelled.py").Labelled()
        labelled.load(torch.device("cpu"))
        instance = start("labels", "Labelled", CUSTOM_TASKS_DIR=str(tasks), **gpu)
        for kind in arguments.kinds.split(","):
            classes, form = kind.split(" ", 1)
            inputs = {"classes": int(classes), "kind": form, "seconds": arguments.seconds}
            compare(instance, labelled, "scan", ct, inputs, arguments.turns)
        instance.stop()
        brain = BrainExtractionTask()
        brain.load(torch.device(arguments.device))
        instance = start("brain", "BrainExtraction", **gpu)
        compare(instance, brain, "head", HEAD, {"cut": 0.5}, arguments.turns)


if __name__ == "__main__":
    main()
