"""Try a task without any server: ``python3 -m tomaat.services try CustomTasks/MyTask.py scan=head.nii.gz cut=0.5``.

The inputs go through the same checks, and the outputs are written the same way, as in the service.
``python3 -m tomaat.services reload`` is the program ``tomaat/launch/reload.py``; ``add``, ``trust`` and ``remove`` are
``tomaat/launch/network_folders.py``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from Inputs import Input
from tomaat.archives import ArchiveLimits
from tomaat.processes.proc import machine_memory_bytes
from tomaat.reader import VolumeReader
from tomaat.refusals import Refusal, TaskFault
from tomaat.services.arguments import read_arguments
from tomaat.services.expected_memory import NoRoom, gib
from tomaat.services.find import find_tasks_in
from tomaat.services.folders.adding import demand_trust, examine
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask
from tomaat.services.folders.telling import lines_of
from tomaat.services.outputs import choose_segmented, write_outputs
from tomaat.services.payload import MAIN, check_payload
from tomaat.services.payload_refused import PayloadRefused
from tomaat.services.task import Task

LARGEST_VOLUME_BYTES = 4 * 1024**3
LIMITS = ArchiveLimits(largest_upload_bytes=2**40, largest_unpacked_bytes=2**40, most_members=100_000)
TEXTS = {"str", "singlechoice"}  #: types whose values need no quotes on the command line


class CannotTry(Exception):
    """The task cannot be tried; the sentence says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the task of the command line; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["reload"]:
        return int(importlib.import_module("tomaat.launch.reload").main(words[1:]))
    if words[:1] in (["add"], ["trust"], ["remove"]):
        return int(importlib.import_module("tomaat.launch.network_folders").main(words))
    asked = parse(words)
    try:
        is_folder = asked.file.is_dir()
        task = choose_folder(asked.file, trusted=asked.trust) if is_folder else choose_task(asked.file, asked.task)
        with tempfile.TemporaryDirectory(prefix="tomaat-try-") as folder:
            write_payload(Path(folder), task.inputs, asked.inputs)
            run_once(task, Path(folder), asked.out or Path(f"{task.task_identifier}-result"), asked.device)
    except (CannotTry, FolderRefused) as error:
        print(error, file=sys.stderr)
        return 1
    except PayloadRefused as refusal:
        print(*(error["detail"] for error in refusal.errors), sep="\n", file=sys.stderr)
        return 1
    except Refusal as refusal:
        print(f"The task refused: {refusal.detail}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.services", description="Tasks without a server.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("reload", help="let a running server load changed tasks")
    commands.add_parser("add", help="offer a trained network that is a folder")
    commands.add_parser("trust", help="let code of such a folder run, as the folder is now")
    commands.add_parser("remove", help="delete such a folder from the folder of tasks")
    attempt = commands.add_parser("try", help="run a task once")
    attempt.add_argument("file", type=Path, help="a file of CustomTasks/, or a trained network's folder")
    attempt.add_argument("inputs", nargs="*", metavar="ID=VALUE", help="a path, JSON, or a text")
    attempt.add_argument("--task", help="its task_identifier, where the file holds several")
    attempt.add_argument("--out", type=Path, help="folder for the outputs; default: <task>-result")
    attempt.add_argument("--trust", action="store_true", help="let code of a network's folder run, this once")
    attempt.add_argument("--device", help="torch's name of it; default: cuda where there is one, else cpu")
    return parser.parse_args(arguments)


def choose_task(file: Path, name: str | None) -> Task:
    """Find the task to be tried in a file."""
    if not file.is_file():
        raise CannotTry(f"{file}: there is no such file.")
    found = find_tasks_in([file.absolute()])
    if found.problems:
        raise CannotTry("\n".join(f"{problem.file}: {problem.reason}" for problem in found.problems))
    if name is None and len(found.tasks) > 1:
        raise CannotTry(f"{file} holds {', '.join(found.tasks)}: say which by --task.")
    if name is not None and name not in found.tasks:
        raise CannotTry(f"{file} holds {', '.join(found.tasks)}, and no {name}.")
    return found.tasks[name or next(iter(found.tasks))]


def choose_folder(place: Path, *, trusted: bool) -> Task:
    """Make the task of a network folder, and tell what it is. Raises ``FolderRefused``."""
    task = examine(place.resolve(), re.sub(r"[^A-Za-z0-9_-]", "_", place.resolve().name))
    print(*lines_of(task), sep="\n")
    type(task).is_trusted = trusted
    try:
        task.demand_trust()
    except FolderRefused:
        demand_trust(task, trusted=trusted)
    return task


def write_payload(folder: Path, inputs: Sequence[Input], given: Sequence[str]) -> None:
    """Make a payload of the values on the command line."""
    declared = {one.id: one for one in inputs}
    values: dict[str, Any] = {}
    for each in given:
        id, equals, value = each.partition("=")
        if not equals or id not in declared:
            raise CannotTry(f"{each}: write one of {', '.join(f'{one}=…' for one in declared) or 'no inputs'}.")
        if not value and declared[id].type not in TEXTS:
            raise CannotTry(f"{id}: its value is empty.")
        if declared[id].store == "file" and not value.startswith("{"):
            copy_file(Path(value), id, declared[id], folder)
        else:
            values[id] = read_value(declared[id], value)
    (folder / MAIN).write_text(json.dumps({"inputs": values}), encoding="utf-8")


def copy_file(path: Path, id: str, declared: Input, folder: Path) -> None:
    """Put a file, or a folder of DICOM images, where a payload has it."""
    if path.is_dir():
        shutil.copytree(path, folder / f"file-{id}", dirs_exist_ok=True)
        return
    if not path.is_file():
        raise CannotTry(f"{id}: {path} is no file.")
    extensions: Sequence[str] = getattr(declared, "extensions", ())
    extension = next((one for one in extensions if path.name.lower().endswith(one)), None)
    if extension is None:
        raise CannotTry(f"{id}: {path.name} is none of {', '.join(extensions)}.")
    shutil.copyfile(path, folder / f"file-{id}{extension}")


def read_value(declared: Input, text: str) -> Any:
    """Read a value as JSON, a text as it stands."""
    if declared.type in TEXTS:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def run_once(task: Task, folder: Path, out: Path, device_name: str | None) -> None:
    """Run the task. Of a written one the author wants to see where it fails, of a folder's network what fails."""
    try:
        run(task, folder, out, device_name)
    except TaskFault as fault:
        if not isinstance(task, FolderTask):
            raise
        raise CannotTry(f"The network failed: {fault}.") from fault


def run(task: Task, folder: Path, out: Path, device_name: str | None) -> None:
    """Check, load, perform and write, telling each step."""
    import torch  # noqa: PLC0415 (only this program, the worker and the tasks import it)

    payload = check_payload(folder, task.inputs, LIMITS)
    device = torch.device(device_name or ("cuda" if torch.cuda.is_available() else "cpu"))
    began = time.monotonic()
    task.load(device)
    print(f"loaded on {device} in {time.monotonic() - began:.1f} s")
    task.report = lambda fraction, stage: print(f"{fraction:6.0%}  {stage}")
    reader = VolumeReader(largest_voxel_bytes=LARGEST_VOLUME_BYTES)
    try:
        arguments, sent, remarks = read_arguments(task.inputs, payload, reader)
    finally:
        reader.close()
    for remark in remarks:
        print(f"remark: {remark['detail']}")
    demand_memory(task, arguments, torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None)
    began = time.monotonic()
    outputs = task.perform(**arguments)
    print(f"performed in {time.monotonic() - began:.1f} s; {most_memory(torch, device)}")
    out.mkdir(parents=True, exist_ok=True)
    for line in write_outputs(outputs, out, choose_segmented(sent, payload.format)):
        for file in (line.get("file"), line.get("preview")):
            if file is not None:
                print(f"{line['name']}: {out / file}")
        shown = line.get("labels", line.get("value"))
        if shown is not None:
            print(f"{line['name']}: {json.dumps(shown, ensure_ascii=False)}")


def demand_memory(task: Task, arguments: Mapping[str, Any], gpu_bytes: int | None) -> None:
    """Tell what the task expects to take for these volumes. Raises ``NoRoom`` where it is not there."""
    expected = task.expected_memory(arguments, gpu_bytes=gpu_bytes)
    if expected is None:
        return
    print(f"expects {expected.told(on_gpu=gpu_bytes is not None)}")
    expected.demand_room(machine_memory_bytes("MemAvailable"))
    if gpu_bytes is not None and expected.gpu_bytes > gpu_bytes:
        raise NoRoom(f"It needs {gib(expected.gpu_bytes)} of the GPU's memory, which has {gib(gpu_bytes)}.")


def most_memory(torch: Any, device: Any) -> str:
    """Tell the most memory that this program has had, with torch and the network in it."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    there = f" and {gib(torch.cuda.max_memory_allocated(device))} of the GPU's" if device.type == "cuda" else ""
    return f"this program had at most {gib(most)} of the machine's memory{there}"


if __name__ == "__main__":
    sys.exit(main())
