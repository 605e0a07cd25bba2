"""What a client waits for beside the network, for whole volumes: ``python3 -m benchmarks.volumes``.

A CT (int16, 512 x 512 x 300) goes through a task that performs for a second and gives ``Labels`` on its grid. In turns
with it the same is done *directly*: read with SimpleITK, the same ``perform``, written as ``.nii.gz`` with SimpleITK.
Then the example of ``BrainExtraction``, a head of 91 x 109 x 91. What the service took beyond ``perform`` is upload,
reading, packing, sealing and download.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import runpy
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from benchmarks.client import Client
from benchmarks.instances import instances
from CustomTasks.BrainExtractionTask import BrainExtractionTask
from tests.service import REPOSITORY, Service
from tomaat.archives import pack
from tomaat.volumes import Volume

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


def directly(task: Any, argument: str, file: Path, inputs: dict[str, Any]) -> float:
    """Do what a program without a service does; tell the seconds."""
    began = time.perf_counter()
    image: Any = sitk.ReadImage(str(file))
    a, b, c = np.reshape(image.GetDirection(), (3, 3)).tolist()
    scan = Volume(
        array=sitk.GetArrayFromImage(image).transpose(2, 1, 0),
        spacing_mm=image.GetSpacing(),
        origin_mm=image.GetOrigin(),
        direction=(tuple(a), tuple(b), tuple(c)),
    )
    (labels,) = task.perform(**{argument: scan}, **inputs).values()
    array = labels.volume.array
    found: Any = sitk.GetImageFromArray((array.view(np.uint8) if array.dtype == bool else array).transpose(2, 1, 0))
    found.CopyInformation(image)
    with tempfile.TemporaryDirectory() as folder:
        sitk.WriteImage(found, str(Path(folder) / "found.nii.gz"), useCompression=True)
    return time.perf_counter() - began


def performing_seconds(result: bytes) -> tuple[float, float]:
    """Read from a result for how long it was read, and performed."""
    with tarfile.open(fileobj=io.BytesIO(result)) as archive:
        told = json.loads(archive.extractfile("result.json").read())["timings_seconds"]  # type: ignore[union-attr]
    return told["read"], told["perform"]


def compare(turns: int, instance: Service, task: Any, *, inputs: dict[str, Any], **volume: Path) -> None:
    """Print the medians of some turns, in each of which the service comes first, and the first turn by itself."""
    ((argument, file),) = volume.items()
    data = payload_of(inputs, argument, file)
    client = Client(instance.url)
    through, direct, beyond, reading = [], [], [], []
    for _ in range(turns + 1):
        began = time.perf_counter()
        result = client.ticket(task.task_identifier, data)
        through.append(time.perf_counter() - began)
        read, performed = performing_seconds(result)
        beyond.append(through[-1] - performed)
        reading.append(read)
        direct.append(directly(task, argument, file, inputs))
    ours, theirs, rest, read = (statistics.median(one[1:]) for one in (through, direct, beyond, reading))
    figures = f"{ours:.2f} s | {theirs:.2f} s | {ours / theirs:.2f} | {rest:.2f} s | {read:.2f} s"
    first = f"{through[0]:.2f} s, {direct[0]:.2f} s"
    print(f"| {task.task_identifier} {json.dumps(inputs)} | {figures} | {first} |", flush=True)


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
    with instances() as given:
        folder, start = given.folder, given.start
        tasks = folder / "tasks"
        tasks.mkdir()
        voxels, drawn = make_ct()
        np.save(tasks / "drawn.npy", drawn)
        (tasks / "Labelled.py").write_text(TASK)
        ct = folder / "ct.nii.gz"
        image: Any = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
        image.SetSpacing((0.8, 0.8, 1.5))
        sitk.WriteImage(image, str(ct), useCompression=True)
        del voxels, drawn, image
        print(f"(the CT: {ct.stat().st_size / 1e6:.0f} MB packed)", flush=True)
        labelled = runpy.run_path(str(tasks / "Labelled.py"))["Labelled"]()
        labelled.load(torch.device("cpu"))
        instance = start("labels", "Labelled", CUSTOM_TASKS_DIR=str(tasks))
        for kind in arguments.kinds.split(","):
            classes, form = kind.split(" ", 1)
            inputs = {"classes": int(classes), "kind": form, "seconds": arguments.seconds}
            compare(arguments.turns, instance, labelled, inputs=inputs, scan=ct)
        instance.stop()
        brain = BrainExtractionTask()
        brain.load(torch.device(arguments.device))
        instance = start("brain", "BrainExtraction")
        compare(arguments.turns, instance, brain, inputs={"cut": 0.5}, head=HEAD)


if __name__ == "__main__":
    main()
