"""A worker is started by the main thread, or its lane hears why not; and one that does not end has no successor."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
import structlog

from tomaat.devices.compute_source import ComputeSource
from tomaat.processes.proc import start_time
from tomaat.scheduling import local_engine
from tomaat.scheduling.local_engine import LocalEngine, Worker

SOURCE = ComputeSource(
    name="here/cpu-0",
    device_name="CPU",
    memory_bytes=None,
    torch_device="cpu",
    visible_devices="",
    services=None,
    problem=None,
)


class Engine(LocalEngine):
    """Its processes only sleep, and every lane's request is served at once."""

    def __init__(self):
        self.asked = threading.Event()
        super().__init__([], folder=Path("/"), wake_main=self.asked.set)
        self.processes = []

    def start_one(self):
        """Let a lane, a thread of its own, ask for a worker; return it, or the error that the lane gets."""
        heard = []

        def ask():
            try:
                heard.append(self.start(SOURCE, Path("/kept")))
            except (OSError, ValueError) as error:
                heard.append(error)

        self.asked.clear()
        lane = threading.Thread(target=ask, daemon=True)
        lane.start()
        assert self.asked.wait(60)
        self.serve_requests()
        lane.join(60)
        assert heard, "the lane waits for ever"
        return heard[0]


@pytest.fixture
def engine(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(local_engine, "adopt_orphans", lambda: None)  # this process is that of other tests, too
    made = Engine()

    class Sleeping(subprocess.Popen):
        def __init__(self, _command, **options):
            super().__init__(["sleep", "600"], **{name: options[name] for name in ("pass_fds", "start_new_session")})
            made.processes.append(self)

    monkeypatch.setattr(local_engine.subprocess, "Popen", Sleeping)
    with os.fdopen(os.dup(2), "w") as stderr:
        monkeypatch.setattr(local_engine.sys, "stderr", stderr)
        yield made
    for process in made.processes:
        process.kill()
        process.wait()


def fail(*_arguments, **_options):
    raise ValueError("embedded null byte")


def test_a_start_that_fails_in_any_way_is_heard_by_its_lane(engine, monkeypatch):
    monkeypatch.setattr(local_engine.subprocess, "Popen", fail)
    assert isinstance(engine.start_one(), ValueError)


@pytest.mark.parametrize("step", [(os, "pidfd_open"), (local_engine.WorkerOutput, "start")])
def test_a_process_whose_start_fails_halfway_is_ended(engine, monkeypatch, step):
    monkeypatch.setattr(*step, fail)
    assert isinstance(engine.start_one(), ValueError)
    (process,) = engine.processes
    assert start_time(process.pid) is None
    assert process.pid not in engine.workers


def test_a_worker_that_does_not_end_is_said_and_has_no_successor_until_it_has(engine, monkeypatch):
    monkeypatch.setattr(local_engine, "KILL_SECONDS", 0.01)
    worker = engine.start_one()
    with monkeypatch.context() as kernel, structlog.testing.capture_logs() as lines:
        kernel.setattr(Worker, "kill", lambda _: None)
        worker.stop()
    assert [(line["event"], line["pid"]) for line in lines] == [("worker.not_ended", worker.pid)]
    refused = engine.start_one()
    assert str(refused) == f"its former worker, process {worker.pid}, was killed and is still there"
    worker.process.kill()
    worker.process.wait()
    successor = engine.start_one()
    assert isinstance(successor, Worker)
    successor.stop()
    assert worker.gone
    assert successor.is_gone()


def test_a_workers_temporary_folder_goes_with_it(engine):
    worker = engine.start_one()
    (folder,) = engine.temporary.top.glob(engine.temporary.made_by + "*")
    (folder / "left").write_text("voxels")
    worker.stop()
    assert not folder.exists()


# The spare worker


@pytest.fixture
def with_spare(engine):
    """An engine that has started one worker, and a spare after it."""
    engine.keeps_spare = True
    engine.keep_spare()
    assert engine.processes == [], "a spare without a worker"
    engine.first = engine.start_one()
    engine.keep_spare()
    assert len(engine.processes) == 1, "the spare takes the processor from the worker that starts"
    engine.keep_spare()
    engine.first.stop()
    yield engine
    engine.end_spare()


def test_a_spare_takes_the_place_of_the_next_worker_and_is_replaced(with_spare, monkeypatch):
    spare, told = with_spare.processes[1], []
    monkeypatch.setattr(Worker, "send", lambda self, message: told.append((self.pid, message)))
    successor = with_spare.start_one()
    assert successor.pid == spare.pid
    assert with_spare.latest == {(SOURCE.name, 1): successor}
    assert successor.output.source == SOURCE.name
    ((pid, place),) = told
    assert (pid, place.device, place.kept) == (spare.pid, SOURCE.torch_device, Path("/kept"))
    assert len(with_spare.processes) == 2
    with_spare.keep_spare()
    with_spare.keep_spare()
    assert len(with_spare.processes) == 3
    successor.stop()


def test_a_spare_is_no_orphan(with_spare):
    assert {process.pid for process in with_spare.processes} == with_spare.workers


def test_where_the_spare_has_died_a_worker_is_started_afresh(with_spare):
    spare = with_spare.processes[1]
    spare.kill()
    spare.wait()
    successor = with_spare.start_one()
    assert successor.pid == with_spare.processes[2].pid
    successor.stop()


def test_a_spare_that_dies_by_itself_is_told_and_not_started_over_and_over(with_spare):
    with_spare.processes[1].kill()
    os.waitid(os.P_PID, with_spare.processes[1].pid, os.WEXITED | os.WNOWAIT)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            with_spare.keep_spare()
    assert [(line["event"], line["ending"]) for line in lines] == [
        ("worker.spare_died", "was ended by signal 9 (SIGKILL)")
    ]
    assert len(with_spare.processes) == 2


def test_an_engine_that_ends_its_spare_keeps_none(with_spare):
    with_spare.end_spare()
    assert start_time(with_spare.processes[1].pid) is None
    with_spare.start_one().stop()
    with_spare.keep_spare()
    with_spare.keep_spare()
    assert len(with_spare.processes) == 3
    assert list(with_spare.temporary.top.glob(with_spare.temporary.made_by + "*")) == []


def test_an_engine_that_shall_keep_no_spare_keeps_none(engine):
    worker = engine.start_one()
    engine.keep_spare()
    engine.keep_spare()
    assert len(engine.processes) == 1
    worker.stop()
