"""What a worker does with other people's tasks, without its process."""

import argparse
import asyncio
import contextlib
import io
import json
import os
import pickle
import select
import subprocess
import sys
import tarfile
import threading
import weakref
from pathlib import Path
from threading import Event
from typing import ClassVar

import numpy as np
import pytest
import structlog
import torch

from Inputs import FloatInput, SingleChoiceInput, VolumeInput
from tests.hostile_images import nifti
from tomaat.devices.need import Need
from tomaat.messages import (
    DRAFT,
    FROM_LANE,
    Begin,
    Channel,
    DeviceBroken,
    DeviceUnusable,
    Forget,
    GiveUp,
    Loaded,
    Loading,
    Measured,
    NotOffered,
    Offered,
    Outgrown,
    Packed,
    Perform,
    Performed,
    Performing,
    Progress,
    ReadAhead,
    Reload,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
    WorkerReady,
)
from tomaat.reader import VolumeReader
from tomaat.scheduling.kept_tasks import KeptTasks, is_task_file
from tomaat.scheduling.local_engine import scrubbed
from tomaat.services import Cancelled, Offer, Task, TaskRefused
from tomaat.services.find import find_tasks
from tomaat.services.found import Found
from tomaat.services.kept import import_from_copy
from tomaat.volumes import Volume
from tomaat.worker import packing, performing
from tomaat.worker.__main__ import listen, start
from tomaat.worker.job import Job
from tomaat.worker.packing import Packer
from tomaat.worker.performing import Performer
from tomaat.worker.process_memory import ProcessMemory
from tomaat.worker.reading import InputReader
from tomaat.worker.report import Report

REPOSITORY = Path(__file__).resolve().parents[2]


class _Add(Task):
    task_identifier = "Add"
    description = "Adds one."
    inputs = (FloatInput("x", "X"),)

    def perform(self, x):
        self.progress(0.5, "adding")
        return {"sum": x + 1}


class _Broken(_Add):
    task_identifier = "Broken"

    def perform(self, x):
        raise OSError(f"/data/MILLER_ANNA.nii {x}")

    def expected_seconds(self, inputs):
        return inputs["y"]


class _Refusing(_Add):
    task_identifier = "Refusing"

    def perform(self, x):
        raise TaskRefused(f"x: {x} shows no head.")


class _Raising(_Add):
    """Raises what a test says, instead of a result."""

    task_identifier = "Raising"
    error: ClassVar = None

    def perform(self, x):
        del x
        raise self.error

    def expected_seconds(self, inputs):
        del inputs
        raise self.error


class _Unwritable(_Add):
    """Returns what a test says, which is no result."""

    task_identifier = "Unwritable"
    outputs: ClassVar = None

    def perform(self, x):
        del x
        return self.outputs


class _ExitingLate(dict):
    """A value that ends the program when it is copied, and when it is written."""

    def items(self):
        sys.exit("written")


class _Exiting:
    """A value that ends the program wherever it is touched."""

    def __deepcopy__(self, _memo):
        sys.exit("copied")

    def __getattr__(self, name):
        sys.exit(name)


class _Reshaping(_Add):
    """Gives a volume voxels that do not fit."""

    task_identifier = "Reshaping"

    def perform(self, x):
        axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        volume = Volume(array=np.full((1, 1, 1), x), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes)
        return {"volume": volume.like(np.zeros(3))}


class _Unloadable(_Add):
    task_identifier = "Unloadable"

    def load(self, _device):
        raise FileNotFoundError("weights/liver.pt2")


class _Talkative(_Add):
    task_identifier = "Talkative"
    inputs = (SingleChoiceInput("x", "X", choices=[f"{number:0200}" for number in range(1000)]),)


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class _Hungry(_Add):
    task_identifier = "Hungry"

    def perform(self, x):
        raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {x} GiB")


class _Scan(_Add):
    """Does with the volume what a test says, for the ticket of this x."""

    task_identifier = "Scan"
    inputs = (FloatInput("x", "X"), VolumeInput("scan", "Scan"))
    during: ClassVar = {}
    seen = staticmethod(lambda _scan: None)

    def perform(self, x, scan):
        type(self).seen(scan)
        self.during.get(x, lambda: None)()
        return {"x": x, "copy": scan}


class _Reusing(_Add):
    """Returns what it fills again for the next ticket."""

    task_identifier = "Reusing"
    folder: ClassVar[Path]

    def load(self, device):
        self.array = np.zeros(2)
        self.tensor = torch.zeros(2, device=device)
        self.value = {"x": [0.0]}

    def perform(self, x):
        self.array[:] = x
        self.tensor[:] = x
        self.value["x"][0] = x
        file = self.folder / "file.txt"
        file.write_text(f"{x:g}")
        return {"array": self.array, "tensor": self.tensor, "file": file, "value": self.value}


class Worker:
    """The three stages of a worker, driven by hand, and the lane's end of its channel."""

    def __init__(self):
        self.lane, there = Channel.pair()
        self.channel = Channel(there, FROM_LANE)
        self.performer = Performer(self.channel, "cpu", ProcessMemory(10**12), {})
        networks = self.performer.networks
        self.reader = VolumeReader(largest_voxel_bytes=1000)
        self.reading = InputReader(self.channel, self.reader, networks, self.performer.asked)
        self.packing = Packer(self.channel, networks)

    def load(self, *tasks):
        made = {task.task_identifier: task() for task in tasks}
        self.performer.take_in(Found(tasks=made, files=dict.fromkeys(made, "tasks.py"), problems=[]))
        self.offers = [self.load_next() for _ in tasks]

    def load_next(self):
        """Load one task; return whether it is offered, or why not."""
        self.performer.load()
        (told,) = [each for each in self.hear() if isinstance(each, Offered | NotOffered)]
        return told

    def read(self, job):
        self.reading.take(job)

    def perform(self):
        self.performer.take(*self.performer.asked.get_nowait(), self.packing.asked)

    def pack(self):
        self.packing.take(self.packing.asked.get_nowait())

    def hear(self):
        """Take all that it has said by now."""
        heard = []
        while select.select([self.lane], [], [], 0)[0]:
            heard.append(self.lane.receive())
        return heard

    def run(self, job):
        """Take a job through the stages; return how it ended."""
        self.read(job)
        if not self.performer.asked.empty():
            self.perform()
        if not self.packing.asked.empty():
            self.pack()
        self.heard = self.hear()
        return self.heard[-1]

    def close(self):
        self.reader.close()
        self.lane.close()
        self.channel.close()


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.close()


@pytest.fixture
def job(tmp_path, worker):
    def make(service, key="1/1", x=2, volume=None):
        folder = tmp_path / key.replace("/", "-")
        (folder / "in").mkdir(parents=True, exist_ok=True)
        (folder / "out").mkdir(exist_ok=True)
        (folder / "in" / "main.json").write_text(json.dumps({"inputs": {"x": x}}))
        if volume is not None:
            (folder / "in" / "file-scan.nii").write_bytes(volume)
        report = Report(worker.channel, key)
        return Job(
            key=key, service=service, inputs=folder / "in", out=folder / "out", source="here/cpu-0", report=report
        )

    return make


def stages(heard):
    return [message.stage for message in heard if isinstance(message, Progress)]


def result_of(job):
    """What result.json says, and the files beside it."""
    with tarfile.open(job.out / DRAFT) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}
    return json.loads(files.pop("result.json")), files


def test_a_job_is_read_performed_and_packed(worker, job):
    worker.load(_Add)
    assert worker.run(job("Add")) == Packed(key="1/1")
    kinds = [type(message) for message in worker.heard]
    assert kinds == [Progress, Performing, Progress, Measured, Performed, Progress, Packed]
    assert stages(worker.heard) == ["reading", "adding", "packing"]
    measured = worker.heard[3]
    assert (measured.service, measured.warm, measured.loading_seconds) == ("Add", ("Add",), 0.0)
    result, _ = result_of(job("Add"))
    assert result["outputs"] == [{"name": "sum", "type": "json", "value": 3.0}]
    assert result["service"] == "Add"
    assert set(result["inputs"]) == {"main.json"}
    assert set(result["timings_seconds"]) == {"read", "perform"}


def test_an_exceptions_text_stays_in_the_house(worker, job):
    worker.load(_Broken)
    end = worker.run(job("Broken"))
    assert isinstance(end, TaskCrashed)
    assert end.error == "OSError"
    assert "MILLER" not in repr(end)


@pytest.mark.parametrize("error", [SystemExit(7), SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_task_that_would_end_its_program_fails_its_ticket_and_the_next_one_runs(worker, job, monkeypatch, error):
    monkeypatch.setattr(_Raising, "error", error)
    worker.load(_Raising, _Add)
    end = worker.run(job("Raising"))
    assert isinstance(end, TaskCrashed)
    assert end.error == (error if isinstance(error, type) else type(error)).__name__
    assert worker.performer.estimate("Raising", job("Raising").inputs) is None
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


@pytest.mark.parametrize(
    "outputs", [{"x": _Exiting()}, {"x": _ExitingLate(a=1)}, _Exiting()], ids=["a value", "late", "all"]
)
def test_outputs_that_would_end_the_program_fail_their_ticket(worker, job, monkeypatch, outputs):
    monkeypatch.setattr(_Unwritable, "outputs", outputs)
    worker.load(_Unwritable, _Add)
    assert isinstance(worker.run(job("Unwritable")), TaskCrashed)
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


def test_a_task_whose_load_would_end_the_program_is_not_offered_and_the_others_are(worker, monkeypatch):
    monkeypatch.setattr(_Raising, "load", lambda *_: sys.exit(3))
    worker.load(_Raising, _Add)
    problem, offer = worker.offers
    assert problem == NotOffered(reason="Raising: load() failed: SystemExit: 3")
    assert offer.service == "Add"
    assert list(worker.performer.networks.tasks) == ["Add"]


@pytest.mark.parametrize(
    ("outputs", "told"),
    [
        (None, "perform() returned NoneType; return a dict of named outputs"),
        ({"MILLER ANNA": 1}, "the output name … is not a Python name of at most 64 letters"),
        ({"miller": {1, 2}}, "the output … is set, which is no Volume, text, array, path or JSON: …"),
    ],
)
def test_our_own_sentence_about_a_task_reaches_its_client_and_the_log_without_a_patient(
    worker, job, monkeypatch, outputs, told
):
    monkeypatch.setattr(_Unwritable, "outputs", outputs)
    worker.load(_Unwritable)
    with structlog.testing.capture_logs() as lines:
        end = worker.run(job("Unwritable"))
    assert end.told == told
    (line,) = (line for line in lines if line["event"] == "task.crashed")
    assert line["told"] == told
    assert line["reference"] == end.reference


def test_a_fault_that_a_task_makes_with_our_classes_is_told_too(worker, job):
    worker.load(_Reshaping)
    assert worker.run(job("Reshaping")).told == "an array of shape (3,) does not lie like a volume of shape (1, 1, 1)"


def test_an_estimate_that_is_no_number_of_seconds_is_told_to_the_log(worker, job, monkeypatch):
    monkeypatch.setattr(_Add, "expected_seconds", lambda *_: float("inf"))
    worker.load(_Add)
    with structlog.testing.capture_logs() as lines:
        assert worker.performer.estimate("Add", job("Add").inputs) is None
    assert lines[0]["told"] == "expected_seconds() returned …; return at most 1e+09 seconds, or None"


def test_a_refusal_reaches_the_client_verbatim(worker, job):
    worker.load(_Refusing)
    end = worker.run(job("Refusing"))
    assert end == TicketRefused(key="1/1", detail="x: 2.0 shows no head.")


def test_a_cancelled_jobs_next_progress_ends_it_and_not_the_next_job(worker, job):
    worker.load(_Add)
    cancelled = job("Add")
    cancelled.report.given_up = True
    assert worker.run(cancelled) == TaskStopped(key="1/1")
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


def test_a_job_cancelled_while_it_is_packed_ends_before_its_next_file(worker, job, monkeypatch):
    worker.load(_Add)
    packed = job("Add")
    worker.read(packed)
    worker.perform()
    write = packing.write_outputs

    def write_and_cancel(*arguments):
        packed.report.given_up = True
        return write(*arguments)

    monkeypatch.setattr(packing, "write_outputs", write_and_cancel)
    worker.pack()
    assert worker.hear()[-1] == TaskStopped(key="1/1")


def test_a_task_lets_cancelled_pass():
    assert issubclass(Cancelled, Exception)
    task = _Add()
    task.report = lambda _fraction, _stage: (_ for _ in ()).throw(Cancelled)
    with pytest.raises(Cancelled):
        task.perform(1)


def test_a_task_that_cannot_load_is_reported_and_the_others_serve(worker):
    worker.load(_Unloadable, _Add)
    problem, offer = worker.offers
    assert problem == NotOffered(reason="Unloadable: load() failed: FileNotFoundError: weights/liver.pt2")
    assert (offer.service, offer.warm, offer.peak_bytes) == ("Add", 1, None)


def test_a_service_is_offered_as_soon_as_it_is_loaded_and_its_ticket_comes_before_the_next_network(worker, job):
    made = {task.task_identifier: task() for task in (_Add, _Broken)}
    worker.performer.take_in(Found(tasks=made, files=dict.fromkeys(made, "tasks.py"), problems=[]))
    assert worker.load_next().service == "Add"
    assert worker.run(job("Add")) == Packed(key="1/1")
    worker.performer.load()
    assert worker.hear()[-1] == WorkerReady()


def test_what_loaded_before_is_loaded_first_and_the_quickest_of_it(worker):
    known = {("Broken", 5.0), ("Refusing", 1.0)}
    performer = worker.performer
    tasks = {task.task_identifier: task() for task in (_Add, _Broken, _Refusing)}
    hashes = {name: Offer.of(task).interface_hash for name, task in tasks.items()}
    performer.networks.known = {
        (hashes[name], "1"): Need(network_bytes=1, peak_bytes=None, load_seconds=seconds) for name, seconds in known
    }
    performer.take_in(Found(tasks=tasks, files=dict.fromkeys(tasks, "tasks.py"), problems=[]))
    assert performer.order == ["Refusing", "Broken", "Add"]


# Loading on purpose

VERSION = """
from Inputs import FloatInput
from tomaat.services import Task

class {name}(Task):
    task_identifier = "{name}"
    description = "Says its version."
    inputs = (FloatInput("x", "X"),)

    def load(self, device):
        {load}

    def perform(self, x):
        return {{"version": "{version}"}}
"""


class Shelf:
    """A folder of tasks, and its copy, from which a worker imports."""

    def __init__(self, worker, top):
        self.worker = worker
        self.folder, self.top = top / "tasks", top
        self.folder.mkdir()
        self.write("First", 1)
        self.write("Second", 1)
        self.kept = KeptTasks(self.folder, top / "kept")
        import_from_copy(self.folder, self.kept.copy)
        worker.performer.folder = self.folder
        worker.performer.take_in(find_tasks(self.folder, kept=self.kept.copy))
        self.offers = [worker.load_next(), worker.load_next()]
        worker.hear()

    def write(self, name, version, *, load="pass", file=None):
        (self.folder / (file or f"{name}Task.py")).write_text(VERSION.format(name=name, version=version, load=load))

    def reload(self):
        """Load what has changed; return the messages about it."""
        changed = self.kept.changed()
        copy = self.kept.renewed(changed)
        files = sorted(name for name in changed if is_task_file(name))
        self.worker.performer.reload(Reload(copy=copy, files=tuple(files)))
        *told, reloaded = self.worker.hear()
        self.kept.take(copy, reloaded.refused)
        return [each for each in told if not isinstance(each, Loading | Loaded)], reloaded

    def version(self, service):
        return self.worker.performer.networks.tasks[service].perform(1)["version"]


@pytest.fixture
def shelf(worker, tmp_path):
    return Shelf(worker, tmp_path)


def test_a_changed_file_serves_once_it_has_loaded(shelf):
    shelf.write("First", 2)
    assert shelf.version("First") == "1"
    ((offer,), reloaded) = shelf.reload()
    assert (offer.service, reloaded.services, reloaded.refused) == ("First", ("First", "Second"), ())
    assert [shelf.version(service) for service in ("First", "Second")] == ["2", "1"]


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        ("raise OSError('no weights')", "First: load() failed: OSError: no weights"),
        ("raise SystemExit(3)", "First: load() failed: SystemExit: 3"),
        ("this is no Python", "FirstTask.py: SyntaxError"),
    ],
)
def test_a_changed_file_that_fails_leaves_the_former_task(shelf, load, reason):
    shelf.write("First", 2, load=load)
    ((refusal,), reloaded) = shelf.reload()
    assert refusal.reason.startswith(reason)
    assert reloaded.refused == ("FirstTask.py",)
    assert shelf.version("First") == "1"
    assert (shelf.kept.copy / "FirstTask.py").read_text() == VERSION.format(name="First", version=1, load="pass")


def test_a_copy_of_a_file_is_refused_by_its_name_and_the_original_serves_on(shelf):
    shelf.write("First", 2, file="Copy.py")
    ((refusal,), _) = shelf.reload()
    assert refusal.reason == (
        "Copy.py: the task_identifier 'First' is FirstTask.py's, which offers it; give this file its own"
    )
    assert shelf.version("First") == "1"


def test_a_copy_of_a_file_that_is_there_at_the_start_is_refused_too(shelf):
    shelf.write("First", 2, file="ACopy.py")
    found = find_tasks(shelf.folder, offered={"First": "FirstTask.py"})
    assert found.files["First"] == "FirstTask.py"
    assert [each.file for each in found.problems] == ["ACopy.py"]


def test_a_file_that_was_renamed_or_removed_takes_its_service_along(shelf):
    (shelf.folder / "FirstTask.py").unlink()
    shelf.write("Third", 1)
    _, reloaded = shelf.reload()
    assert set(reloaded.services) == {"Second", "Third"}


def test_a_helper_that_has_changed_comes_with_the_task_that_imports_it(shelf, monkeypatch):
    monkeypatch.syspath_prepend(str(shelf.folder))
    (shelf.folder / "_helper.py").write_text("VERSION = 1")
    shelf.write("First", "a", load="import _helper; self.helper = _helper.VERSION")
    shelf.reload()
    helper = lambda: shelf.worker.performer.networks.tasks["First"].helper  # noqa: E731
    assert helper() == 1
    (shelf.folder / "_helper.py").write_text("VERSION = 2")
    shelf.write("First", "b", load="import _helper; self.helper = _helper.VERSION")
    shelf.reload()
    assert helper() == 2
    sys.modules.pop("_helper")


def test_a_task_finds_its_own_classes_after_another_file_was_loaded_anew(shelf):
    shelf.write("First", 2)
    shelf.reload()
    for task in shelf.worker.performer.networks.tasks.values():
        pickle.dumps(task)


def test_a_task_whose_new_file_is_refused_finds_its_own_classes(shelf):
    shelf.write("First", 2, load="raise OSError")
    shelf.write("Second", 2)
    assert shelf.reload()[1].refused == ("FirstTask.py",)
    for task in shelf.worker.performer.networks.tasks.values():
        pickle.dumps(task)


def test_tasks_whose_new_files_are_all_refused_find_their_helper(shelf, monkeypatch):
    monkeypatch.syspath_prepend(str(shelf.folder))
    (shelf.folder / "_helper.py").write_text("VERSION = 1")
    shelf.write("First", "a", load="import _helper")
    shelf.reload()
    (shelf.folder / "_helper.py").write_text("this is no Python")
    shelf.write("First", "b", load="import _helper")
    _, reloaded = shelf.reload()
    assert reloaded.refused == ("FirstTask.py",)
    assert sys.modules.pop("_helper").VERSION == 1


def test_a_text_that_has_changed_is_not_read_before_it_is_asked_for(shelf):
    shelf.write("First", 2)
    found = find_tasks(shelf.folder, kept=shelf.kept.copy)
    assert found.tasks["First"].perform(1) == {"version": "1"}


# A broken device


class _Ended(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def broken(worker, monkeypatch):
    """The device of the worker does nothing any more."""

    def end(_status):
        raise _Ended

    def fail():
        raise RuntimeError("CUDA error: device-side assert triggered\nand more lines")

    monkeypatch.setattr(performing.os, "_exit", end)
    worker.performer.probe = fail


@pytest.mark.usefixtures("broken")
def test_an_error_that_breaks_the_device_ends_the_worker_after_the_tickets_own_end(worker, job):
    worker.load(_Broken)
    worker.read(job("Broken"))
    with pytest.raises(_Ended):
        worker.perform()
    *_, broken, end = worker.hear()
    assert broken == DeviceBroken(reason="CUDA error: device-side assert triggered")
    assert isinstance(end, TaskCrashed)


@pytest.mark.usefixtures("broken")
def test_a_network_that_breaks_the_device_while_it_loads_is_named_and_ends_the_worker(worker):
    with pytest.raises(_Ended):
        worker.load(_Unloadable)
    *_, loading, broken = worker.hear()
    assert (loading.name, type(broken)) == ("Unloadable", DeviceBroken)


def test_a_device_that_does_not_answer_ends_the_worker_and_the_ticket_has_its_own_end(worker, job, monkeypatch):
    answers, ended = Event(), Event()
    monkeypatch.setattr(performing, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(performing.os, "_exit", lambda _status: ended.set())
    worker.performer.probe = lambda: (ended.wait(60), answers.set())
    worker.load(_Broken)
    worker.read(job("Broken"))
    worker.perform()
    assert answers.wait(60)
    heard = worker.hear()
    assert DeviceBroken(reason="it did not answer within 0.01 s") in heard
    assert isinstance(heard[heard.index(DeviceBroken(reason="it did not answer within 0.01 s")) + 1], TaskCrashed)


def test_three_services_that_crash_one_after_the_other_end_the_worker(worker, job, monkeypatch):
    ended = []
    monkeypatch.setattr(performing.os, "_exit", ended.append)
    others = [type(f"_{name}", (_Broken,), {"task_identifier": name}) for name in ("Second", "Third")]
    worker.load(_Broken, *others, _Add)
    for service in ("Broken", "Second", "Second", "Add", "Broken", "Second"):
        worker.run(job(service))
    assert ended == [], "a success comes between, and a service counts once"
    assert isinstance(worker.run(job("Third")), TaskCrashed)
    assert ended == [1]
    assert DeviceBroken(reason="3 services crashed one after the other") in worker.heard


def test_an_interface_too_long_to_be_told_is_reported_and_the_others_serve(worker):
    worker.load(_Talkative, _Add)
    problem, offer = worker.offers
    assert problem.reason.startswith("Talkative: its interface cannot be told")
    assert isinstance(offer, Offered)
    assert offer.service == "Add"


def test_what_does_not_fit_at_all_fails_with_a_clear_error_and_the_next_ticket_runs(worker, job):
    worker.load(_Hungry, _Add)
    end = worker.run(job("Hungry"))
    assert end == Outgrown(key="1/1", needed_bytes=None, total_bytes=10**12)
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


def test_an_estimate_that_fails_costs_nothing(worker, job):
    worker.load(_Broken, _Add)
    assert worker.performer.estimate("Broken", job("Broken").inputs) is None
    assert worker.performer.estimate("Add", job("Add").inputs) is None
    assert worker.performer.estimate("Gone", job("Gone").inputs) is None


def test_a_device_that_torch_cannot_use_is_told(worker):
    def no_device(_name, _threads):
        raise RuntimeError("no kernel image is available\nand more lines")

    arguments = type("Arguments", (), {"device": "cuda:0", "threads": 1})
    assert start(worker.channel, arguments, no_device) is None
    assert worker.hear() == [DeviceUnusable(reason="torch cannot use cuda:0: no kernel image is available")]


HEAVY = """
from Inputs import FloatInput
from tomaat.services import Task

class _Heavy(Task):
    description = "Takes most of the device."
    inputs = (FloatInput("x", "X"),)

    def load(self, device):
        self.device = device
        if sum(device.held.values()) + 60 > 100:
            raise MemoryError
        device.held[id(self)] = 60

    def __del__(self):
        if hasattr(self, "device"):
            self.device.held.pop(id(self), None)

    def perform(self, x):
        return {}

class First(_Heavy):
    task_identifier = "First"

class Second(_Heavy):
    task_identifier = "Second"
"""


class _Device:
    """Has 100 bytes, which only the end of a task gives back."""

    type = "heavy"
    total_bytes = None

    def __init__(self):
        self.held = {}

    def in_use_bytes(self):
        return sum(self.held.values())

    def free_bytes(self):
        return 100 - self.in_use_bytes()

    def give_back(self):
        pass


def test_networks_that_do_not_fit_together_at_the_start_are_all_offered(worker, tmp_path, monkeypatch):
    (tmp_path / "HeavyTask.py").write_text(HEAVY)
    device = _Device()
    monkeypatch.setattr(sys.modules[start.__module__], "memory_of", lambda *_: device)
    options = {"device": "x", "threads": 1, "tasks": tmp_path, "kept": tmp_path, "services": "*", "memory_bytes": None}
    worker.lane.send(Begin(without=()))
    performer = start(worker.channel, argparse.Namespace(**options), lambda *_: device)
    performer.load()
    performer.load()
    assert [each for each in worker.hear() if isinstance(each, NotOffered)] == []
    assert (list(performer.networks.tasks), list(performer.networks.loaded)) == (["First", "Second"], ["Second"])


# Three tickets at once


def test_while_a_ticket_performs_the_next_is_read_and_the_last_packed(worker, job):
    """The one that performs ends only after both: were they behind it, nobody would ever be through."""
    worker.load(_Scan)
    last, present, coming = (job("Scan", key=f"{n}/1", x=n, volume=nifti()) for n in (1, 2, 3))
    worker.read(last)
    worker.perform()
    worker.read(present)
    waits, goes_on = Event(), Event()
    _Scan.during[2] = lambda: (waits.set(), goes_on.wait(60))
    performing = threading.Thread(target=worker.perform)
    performing.start()
    assert waits.wait(60)
    worker.reading.take(ReadAhead(service="Scan", inputs=coming.inputs))
    worker.pack()
    assert worker.reading.ahead.arguments["scan"].array.shape == (4, 5, 6)
    assert Packed(key="1/1") in worker.hear()
    assert performing.is_alive()
    goes_on.set()
    performing.join()
    assert worker.hear()[-1] == Performed(key="2/1")


def test_what_was_read_ahead_is_performed_without_reading_it_again(worker, job):
    worker.load(_Scan)
    scan = job("Scan", volume=nifti())
    worker.reading.take(ReadAhead(service="Scan", inputs=scan.inputs))
    (scan.inputs / "file-scan.nii").write_bytes(nifti() + b"so that another reading would be refused")
    assert worker.run(scan) == Packed(key="1/1")
    assert "reading" not in stages(worker.heard)


def test_what_was_read_ahead_is_thrown_away_when_another_ticket_comes(worker, job):
    worker.load(_Scan)
    ahead, other = job("Scan", key="1/1", x=1, volume=nifti()), job("Scan", key="2/1", x=7, volume=nifti())
    worker.reading.take(ReadAhead(service="Scan", inputs=ahead.inputs))
    assert worker.run(other) == Packed(key="2/1")
    assert result_of(other)[0]["outputs"][0]["value"] == 7.0
    assert worker.reading.ahead is None


def test_what_was_read_ahead_is_let_go_when_the_lane_says_so(worker, job):
    worker.load(_Scan)
    worker.reading.take(ReadAhead(service="Scan", inputs=job("Scan", volume=nifti()).inputs))
    memory = weakref.ref(worker.reading.ahead.arguments["scan"].array)
    worker.reading.take(Forget())
    assert memory() is None


def test_reading_ahead_makes_way_for_what_is_asked_since(worker, job):
    worker.load(_Scan)
    scan = job("Scan", volume=nifti())
    worker.reading.asked.put(scan)
    worker.reading.take(ReadAhead(service="Scan", inputs=scan.inputs))
    assert worker.reading.ahead is None


def test_a_ticket_that_was_refused_ahead_is_told_so_once_it_is_claimed(worker, job):
    worker.load(_Scan)
    broken = job("Scan", volume=nifti()[:-1])
    worker.reading.take(ReadAhead(service="Scan", inputs=broken.inputs))
    assert worker.hear() == []
    end = worker.run(broken)
    assert isinstance(end, TicketRefused)
    assert end.errors[0]["input"] == "scan"


def test_no_stage_keeps_a_ticket_that_has_left_it(worker, job):
    """A volume may be a gigabyte, and an idle worker waits for hours."""
    worker.load(_Scan)
    arrays = []
    _Scan.during[2] = lambda: None
    _Scan.seen = lambda scan: arrays.append(weakref.ref(scan.array))
    assert worker.run(job("Scan", volume=nifti())) == Packed(key="1/1")
    assert [array() for array in arrays] == [None]


def test_a_result_is_its_own_tickets_also_when_the_task_fills_the_same_memory_and_file_again(worker, job, tmp_path):
    _Reusing.folder = tmp_path
    worker.load(_Reusing)
    first, second = job("Reusing", key="1/1", x=1), job("Reusing", key="2/1", x=2)
    for each in (first, second):
        worker.read(each)
        worker.perform()
    worker.pack()
    worker.pack()
    for each, x in ((first, 1), (second, 2)):
        result, files = result_of(each)
        assert result["outputs"][-1]["value"] == {"x": [float(x)]}
        assert np.load(io.BytesIO(files["array.npy"])).tolist() == [x, x]
        assert np.load(io.BytesIO(files["tensor.npy"])).tolist() == [x, x]
        assert files["file.txt"] == f"{x:g}".encode()
        assert sorted(path.name for path in each.out.iterdir()) == ["files", DRAFT]


def test_a_cancelling_meets_its_own_job_of_two_that_are_under_way(worker, job, monkeypatch):
    worker.load(_Scan)
    monkeypatch.setattr(os, "_exit", lambda _status: sys.exit())

    def listen_until_the_lane_is_gone():
        with contextlib.suppress(SystemExit):
            listen(worker.channel, worker.performer, worker.reading)

    listening = threading.Thread(target=listen_until_the_lane_is_gone)
    listening.start()
    try:
        for key in ("1/1", "2/1"):
            made = job("Scan", key=key, volume=nifti())
            asked = Perform(key=key, service="Scan", inputs=made.inputs, out=made.out, source="here/cpu-0")
            worker.lane.send(asked)
        one, two = (worker.reading.asked.get(timeout=60) for _ in range(2))
        worker.lane.send(GiveUp(key="2/1"))
        worker.lane.send(ReadAhead(service="Scan", inputs=two.inputs))
        worker.lane.send(Forget())
        assert worker.reading.asked.get(timeout=60) == ReadAhead(service="Scan", inputs=two.inputs)
        assert worker.reading.asked.get(timeout=60) == Forget()
        assert (one.report.given_up, two.report.given_up) == (False, True)
    finally:  # before os._exit is itself again
        worker.lane.close()
        listening.join()


def test_a_worker_gets_no_settings_and_no_secrets(monkeypatch):
    monkeypatch.setenv("TOMAAT_DATABASE_URL", "postgresql://role:secret@host/name")
    monkeypatch.setenv("PGPASSWORD", "secret")
    environment = scrubbed(os.environ, "GPU-1")
    assert "secret" not in str(environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_a_stage_that_ends_ends_the_worker():
    code = "from tomaat.worker.__main__ import work_for_life; import sys, threading, time\n"
    code += "threading.Thread(target=work_for_life, args=(sys.exit,), daemon=True).start(); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 1
