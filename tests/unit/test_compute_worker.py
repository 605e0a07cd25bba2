"""What a worker does with other people's tasks, without its process."""

import json
import tarfile

import pytest

from Inputs import FloatInput, SingleChoiceInput
from tomaat.compute.Channel import Channel
from tomaat.compute.Job import DRAFT, Job
from tomaat.compute.Performer import Performer
from tomaat.compute.worker import start
from tomaat.services import Cancelled, Task, TaskRefused
from tomaat.volumes import VolumeReader


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


@pytest.fixture
def lane():
    """The lane's end of a channel, and the worker's performer on the other."""
    here, there = Channel.pair()
    worker_end = Channel(there)
    yield here, Performer(worker_end, VolumeReader(largest_voxel_bytes=1000), "cpu")
    here.close()
    worker_end.close()


@pytest.fixture
def job(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "main.json").write_text(json.dumps({"inputs": {"x": 2}}))

    def make(service, key="1/1"):
        return Job(key=key, service=service, inputs=tmp_path / "in", out=tmp_path / "out", source="here/cpu-0")

    return make


def load(performer, *tasks):
    performer.load({task.task_identifier: task() for task in tasks})


def test_a_job_is_performed_and_packed(lane, job):
    here, performer = lane
    load(performer, _Add)
    assert performer.run(job("Add")) == {"is": "done"}
    stages = [here.receive()["stage"] for _ in range(3)]
    assert stages == ["reading", "adding", "packing"]
    with tarfile.open(job("Add").out / DRAFT) as archive:
        result = json.load(archive.extractfile("result.json"))
    assert result["outputs"] == [{"name": "sum", "type": "json", "value": 3.0}]
    assert result["service"] == "Add"
    assert set(result["inputs"]) == {"main.json"}


def test_an_exceptions_text_stays_in_the_house(lane, job):
    _, performer = lane
    load(performer, _Broken)
    end = performer.run(job("Broken"))
    assert end["is"] == "crashed"
    assert "OSError" in end["problem"]["detail"]
    assert "MILLER" not in json.dumps(end)


def test_a_refusal_reaches_the_client_verbatim(lane, job):
    _, performer = lane
    load(performer, _Refusing)
    end = performer.run(job("Refusing"))
    assert (end["is"], end["problem"]["detail"]) == ("refused", "x: 2.0 shows no head.")


def test_a_cancelled_jobs_next_progress_ends_it_and_not_the_next_job(lane, job):
    _, performer = lane
    load(performer, _Add)
    performer.cancelled_key = "1/1"
    assert performer.run(job("Add")) == {"is": "cancelled"}
    assert performer.run(job("Add", key="2/1")) == {"is": "done"}


def test_a_task_lets_cancelled_pass():
    assert issubclass(Cancelled, Exception)
    task = _Add()
    task.report = lambda _fraction, _stage: (_ for _ in ()).throw(Cancelled)
    with pytest.raises(Cancelled):
        task.perform(1)


def test_a_task_that_cannot_load_is_reported_and_the_others_serve(lane):
    here, performer = lane
    load(performer, _Unloadable, _Add)
    assert here.receive() == {
        "is": "problem",
        "reason": "Unloadable: load() failed: FileNotFoundError: weights/liver.pt2",
    }
    performer.offer()
    assert here.receive()["offer"]["service"] == "Add"


def test_an_interface_too_long_to_be_told_is_reported_and_the_others_serve(lane):
    here, performer = lane
    load(performer, _Talkative, _Add)
    performer.offer()
    assert here.receive()["reason"].startswith("Talkative: its interface cannot be told")
    assert here.receive()["offer"]["service"] == "Add"


def test_what_does_not_fit_at_all_fails_with_a_clear_error_and_the_next_ticket_runs(lane, job):
    _, performer = lane
    load(performer, _Hungry, _Add)
    end = performer.run(job("Hungry"))
    assert end["is"] == "crashed"
    assert end["problem"]["type"] == "/problems/out-of-memory"
    assert "needs more memory than here/cpu-0 has" in end["problem"]["detail"]
    assert performer.run(job("Add")) == {"is": "done"}


def test_an_estimate_that_fails_costs_nothing(lane, job):
    _, performer = lane
    load(performer, _Broken, _Add)
    assert performer.estimate("Broken", job("Broken").inputs) is None
    assert performer.estimate("Add", job("Add").inputs) is None
    assert performer.estimate("Gone", job("Gone").inputs) is None


def test_a_device_that_torch_cannot_use_is_told(lane):
    here, performer = lane

    def no_device(_name, _threads):
        raise RuntimeError("no kernel image is available\nand more lines")

    arguments = type("Arguments", (), {"device": "cuda:0", "threads": 1})
    assert start(performer.channel, arguments, no_device) is None
    assert here.receive() == {"is": "unusable", "reason": "torch cannot use cuda:0: no kernel image is available"}
