"""What a worker does with other people's tasks, without its process."""

import asyncio
import os
import subprocess
import sys
from threading import Event
from typing import ClassVar

import numpy as np
import pytest
import structlog

from tests.unit.driven_worker import Add, Broken, Raising, Refusing, Unloadable, result_of, stages
from tomaat.messages import (
    DeviceBroken,
    Measured,
    NotOffered,
    Outgrown,
    Packed,
    Performed,
    Performing,
    Progress,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
)
from tomaat.scheduling.local_engine import scrubbed
from tomaat.services import Cancelled, TaskRefused
from tomaat.services.expected_memory import NoRoom
from tomaat.volumes import Volume
from tomaat.worker import packing, performing


class _Unwritable(Add):
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


class _Reshaping(Add):
    """Gives a volume voxels that do not fit."""

    task_identifier = "Reshaping"

    def perform(self, x):
        axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        volume = Volume(array=np.full((1, 1, 1), x), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes)
        return {"volume": volume.like(np.zeros(3))}


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class _Hungry(Add):
    task_identifier = "Hungry"

    def perform(self, x):
        raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {x} GiB")


def test_a_job_is_read_performed_and_packed(worker, job):
    worker.load(Add)
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
    assert (result["version"], result["licence"], result["contact"]) == ("1", "MIT", "somebody@lab.org")
    assert "reference" not in result, "the task has none"


def test_an_exceptions_text_stays_in_the_house(worker, job):
    worker.load(Broken)
    end = worker.run(job("Broken"))
    assert isinstance(end, TaskCrashed)
    assert end.error == "OSError"
    assert "MILLER" not in repr(end)


@pytest.mark.parametrize("error", [SystemExit(7), SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_task_that_would_end_its_program_fails_its_ticket_and_the_next_one_runs(worker, job, monkeypatch, error):
    monkeypatch.setattr(Raising, "error", error)
    worker.load(Raising, Add)
    end = worker.run(job("Raising"))
    assert isinstance(end, TaskCrashed)
    assert end.error == (error if isinstance(error, type) else type(error)).__name__
    assert worker.estimating.estimate("Raising", job("Raising").inputs) is None
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


@pytest.mark.parametrize(
    "outputs", [{"x": _Exiting()}, {"x": _ExitingLate(a=1)}, _Exiting()], ids=["a value", "late", "all"]
)
def test_outputs_that_would_end_the_program_fail_their_ticket(worker, job, monkeypatch, outputs):
    monkeypatch.setattr(_Unwritable, "outputs", outputs)
    worker.load(_Unwritable, Add)
    assert isinstance(worker.run(job("Unwritable")), TaskCrashed)
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


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
    monkeypatch.setattr(Add, "expected_seconds", lambda *_: float("inf"))
    worker.load(Add)
    with structlog.testing.capture_logs() as lines:
        assert worker.estimating.estimate("Add", job("Add").inputs) is None
    assert lines[0]["told"] == "expected_seconds() returned …; return at most 1e+09 seconds, or None"


def test_a_refusal_reaches_the_client_verbatim(worker, job):
    worker.load(Refusing)
    end = worker.run(job("Refusing"))
    assert end == TicketRefused(key="1/1", detail="x: 2.0 shows no head.")


def test_a_ticket_without_room_tells_the_lane_that_it_may_fit_later(worker, job, monkeypatch):
    monkeypatch.setattr(Raising, "error", NoRoom("scan: too large."))
    worker.load(Raising)
    assert worker.run(job("Raising")) == TicketRefused(key="1/1", detail="scan: too large.", now=True)


class _Unsaid(TaskRefused):
    """A refusal of a task's own that has no sentence."""

    def __init__(self):
        self.reason = 1


def test_a_refusal_without_a_sentence_is_a_crash_and_ends_no_worker(worker, job, monkeypatch):
    monkeypatch.setattr(Raising, "error", _Unsaid())
    worker.load(Raising)
    end = worker.run(job("Raising"))
    assert (type(end), end.error) == (TaskCrashed, "_Unsaid")


def test_a_cancelled_jobs_next_progress_ends_it_and_not_the_next_job(worker, job):
    worker.load(Add)
    cancelled = job("Add")
    cancelled.report.given_up = True
    assert worker.run(cancelled) == TaskStopped(key="1/1")
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


def test_a_task_that_raises_cancelled_though_nobody_gave_up_has_crashed(worker, job, monkeypatch):
    monkeypatch.setattr(Raising, "error", Cancelled())
    worker.load(Raising)
    end = worker.run(job("Raising"))
    assert (type(end), end.error) == (TaskCrashed, "Cancelled")


def test_a_job_cancelled_while_it_is_packed_ends_before_its_next_file(worker, job, monkeypatch):
    worker.load(Add)
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
    task = Add()
    task.report = lambda _fraction, _stage: (_ for _ in ()).throw(Cancelled)
    with pytest.raises(Cancelled):
        task.perform(1)


def test_what_does_not_fit_at_all_fails_with_a_clear_error_and_the_next_ticket_runs(worker, job):
    worker.load(_Hungry, Add)
    end = worker.run(job("Hungry"))
    assert end == Outgrown(key="1/1", needed_bytes=None, total_bytes=10**12)
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")


def test_an_estimate_that_fails_costs_nothing(worker, job):
    worker.load(Broken, Add)
    assert worker.estimating.estimate("Broken", job("Broken").inputs) is None
    assert worker.estimating.estimate("Add", job("Add").inputs) is None
    assert worker.estimating.estimate("Gone", job("Gone").inputs) is None


def test_a_worker_gets_no_settings_and_no_secrets(monkeypatch):
    monkeypatch.setenv("TOMAAT_DATABASE_URL", "postgresql://role:secret@host/name")
    monkeypatch.setenv("PGPASSWORD", "secret")
    environment = scrubbed(os.environ)
    assert "secret" not in str(environment)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""  # until the worker is told its device


def test_a_stage_that_ends_ends_the_worker():
    code = "from tomaat.worker.__main__ import work_for_life; import sys, threading, time\n"
    code += "threading.Thread(target=work_for_life, args=(sys.exit,), daemon=True).start(); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 1


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
    worker.load(Broken)
    worker.read(job("Broken"))
    with pytest.raises(_Ended):
        worker.perform()
    *_, broken, end = worker.hear()
    assert broken == DeviceBroken(reason="CUDA error: device-side assert triggered")
    assert isinstance(end, TaskCrashed)


@pytest.mark.usefixtures("broken")
def test_a_network_that_breaks_the_device_while_it_loads_is_named_and_ends_the_worker(worker):
    with pytest.raises(_Ended):
        worker.load(Unloadable)
    *_, loading, refusal, broken = worker.hear()
    assert loading.name == "Unloadable", "so that it is left out, and what ends the worker here may be the error itself"
    assert (type(refusal), type(broken)) == (NotOffered, DeviceBroken)


def test_a_device_that_does_not_answer_ends_the_worker_and_the_ticket_has_its_own_end(worker, job, monkeypatch):
    answers, ended = Event(), Event()
    monkeypatch.setattr(performing, "PROBE_SECONDS", 0.01)
    monkeypatch.setattr(performing.os, "_exit", lambda _status: ended.set())
    worker.performer.probe = lambda: (ended.wait(60), answers.set())
    worker.load(Broken)
    worker.read(job("Broken"))
    worker.perform()
    assert answers.wait(60)
    heard = worker.hear()
    assert DeviceBroken(reason="it did not answer within 0.01 s") in heard
    assert isinstance(heard[heard.index(DeviceBroken(reason="it did not answer within 0.01 s")) + 1], TaskCrashed)


def test_three_services_that_crash_one_after_the_other_end_the_worker(worker, job, monkeypatch):
    ended = []
    monkeypatch.setattr(performing.os, "_exit", ended.append)
    others = [type(f"_{name}", (Broken,), {"task_identifier": name}) for name in ("Second", "Third")]
    worker.load(Broken, *others, Add)
    for service in ("Broken", "Second", "Second", "Add", "Third", "Third", "Broken"):
        worker.run(job(service))
    assert ended == [], "a success comes between, and a service counts once"
    assert isinstance(worker.run(job("Second")), TaskCrashed)
    assert ended == [1]
    assert DeviceBroken(reason="3 services crashed one after the other") in worker.heard
