"""A worker is started by the main thread, or its lane hears why not; and one that does not end has no successor."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import structlog

from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import FROM_LANE, Channel, ChannelClosed, DeviceUsable
from tomaat.processes.proc import start_time
from tomaat.scheduling import local_engine
from tomaat.scheduling.local_engine import LocalEngine, LocalWorker

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
    """Its processes only sleep, and say nothing."""

    def __init__(self):
        self.asked = threading.Event()
        super().__init__([], folder=Path("/"), wake_main=self.asked.set)
        self.most_starting = 1
        self.processes = []
        self.commands = []
        self.lanes = []

    def ask(self, number=1, python=None):
        """Let a lane, a thread of its own, ask for a worker."""
        self.asked.clear()
        lane = AskingLane(self, number)
        lane.python = python
        lane.start()
        self.lanes.append(lane)
        assert self.asked.wait(60)
        return lane

    def start_one(self):
        """Start a worker that is up at once; return it, or the error that its lane gets."""
        lane = self.ask()
        self.serve_requests()
        lane.join(60)
        assert lane.heard, "the lane waits for ever"
        if isinstance(lane.heard[0], LocalWorker):
            lane.heard[0].is_starting = False
        return lane.heard[0]

    def served(self, *lanes):
        """Serve requests; tell which lanes have an answer by now."""
        self.serve_requests()
        waiting = {request.lane[1] for request in self.waiting}
        for lane in lanes:
            if lane.number not in waiting:
                lane.join(60)
        return [lane.number for lane in lanes if lane.heard]


class AskingLane(threading.Thread):
    def __init__(self, engine, number):
        super().__init__(daemon=True)
        self.engine = engine
        self.number = number
        self.is_ending = False
        self.python = None
        self.heard = []

    def run(self):
        try:
            how = {"shared": False, "ending": lambda: self.is_ending, "python": self.python}
            started = self.engine.start(SOURCE, Path("/kept"), self.number, **how)
            self.heard.append(started)
        except (OSError, ValueError) as error:
            self.heard.append(error)


@pytest.fixture
def engine(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(local_engine, "adopt_orphans", lambda: None)  # this process is that of other tests, too
    made = Engine()

    class Sleeping(subprocess.Popen):
        def __init__(self, command, **options):
            made.commands.append((command[0], options["env"]))
            super().__init__(["sleep", "600"], **{name: options[name] for name in ("pass_fds", "start_new_session")})
            made.processes.append(self)

    monkeypatch.setattr(local_engine.subprocess, "Popen", Sleeping)
    with os.fdopen(os.dup(2), "w") as stderr:
        monkeypatch.setattr(local_engine.sys, "stderr", stderr)
        yield made
    for worker in [worker for lane in made.lanes for worker in lane.heard if isinstance(worker, LocalWorker)]:
        if not worker.gone:
            worker.stop()
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
        kernel.setattr(LocalWorker, "kill", lambda _: None)
        worker.stop()
    assert [(line["event"], line["pid"]) for line in lines] == [("worker.not_ended", worker.pid)]
    refused = engine.start_one()
    assert str(refused) == f"its former worker, process {worker.pid}, was killed and is still there"
    worker.process.kill()
    worker.process.wait()
    successor = engine.start_one()
    assert isinstance(successor, LocalWorker)
    successor.stop()
    assert worker.gone
    assert successor.is_gone()


def test_a_workers_temporary_folder_goes_with_it(engine):
    worker = engine.start_one()
    (folder,) = engine.temporary.top.glob(engine.temporary.made_by + "*")
    (folder / "left").write_text("voxels")
    worker.stop()
    assert not folder.exists()


def test_a_worker_of_another_environment_is_run_by_its_python_and_never_by_the_spare(engine, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/own")
    engine.keeps_spare = engine.spare.is_due = engine.spare.is_quiet = True
    engine.keep_spare()
    other, own = engine.ask(2, "/other/python"), engine.ask(1)
    engine.most_starting = 2
    assert engine.served(other, own) == [2, 1]
    assert [command for command, _ in engine.commands] == [sys.executable, "/other/python"]
    assert ["VIRTUAL_ENV" in environment for _, environment in engine.commands] == [True, False]


# Turns


@pytest.mark.parametrize(("processors", "most"), [(None, 1), (1, 1), (4, 4)])
@pytest.mark.usefixtures("engine")
def test_as_many_workers_start_at_once_as_there_are_processors(monkeypatch, processors, most):
    monkeypatch.setattr(local_engine.os, "cpu_count", lambda: processors)
    assert LocalEngine([], folder=Path("/"), wake_main=lambda: None).most_starting == most


def test_others_wait_while_so_many_workers_start(engine):
    engine.most_starting = 2
    lanes = [engine.ask(number) for number in (1, 2, 3, 4)]
    assert engine.served(*lanes) == [1, 2]
    assert engine.served(*lanes) == [1, 2]
    assert len(engine.processes) == 2


def test_lanes_have_their_turn_in_the_order_of_their_numbers(engine):
    lanes = [engine.ask(number) for number in (3, 2, 4, 1)]
    for have_it in ([1], [2, 1], [3, 2, 1], [3, 2, 4, 1]):
        assert engine.served(*lanes) == have_it
        for lane in lanes:
            for worker in lane.heard:
                worker.is_starting = False


@pytest.mark.parametrize("is_up", ["says something", "closes its channel", "is killed"])
def test_a_start_is_over_with_the_workers_first_message_or_its_end_and_the_main_thread_is_woken(engine, is_up):
    first, second = engine.ask(1), engine.ask(2)
    assert engine.served(first, second) == [1]
    (worker,) = first.heard
    worker.channel.close()
    worker.channel, there = Channel.pair()
    other_end = Channel(there, FROM_LANE)
    engine.asked.clear()
    if is_up == "says something":
        other_end.send(DeviceUsable())
        worker.receive()
    elif is_up == "closes its channel":
        there.close()
        with pytest.raises(ChannelClosed):
            worker.receive()
    else:
        worker.kill()
    there.close()
    assert engine.asked.is_set()
    assert engine.served(first, second) == [1, 2]


def test_a_start_that_says_nothing_keeps_the_next_one_waiting_only_so_long(engine, monkeypatch):
    monkeypatch.setattr(local_engine, "LONGEST_TURN_SECONDS", 0.0)
    lanes = [engine.ask(1), engine.ask(2)]
    assert engine.served(*lanes) == [1, 2]


def test_a_lane_that_ends_while_it_waits_gets_no_worker(engine):
    lanes = [engine.ask(1), engine.ask(2)]
    assert engine.served(*lanes) == [1]
    lanes[1].is_ending = True
    assert engine.served(*lanes) == [1, 2]
    assert lanes[1].heard == [None]
    assert len(engine.processes) == 1


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
    monkeypatch.setattr(LocalWorker, "send", lambda self, message: told.append((self.pid, message)))
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


def test_a_spare_waits_for_no_turn_and_is_not_started_before_the_lanes_that_wait(with_spare):
    lanes = [with_spare.ask(1)]
    assert with_spare.served(*lanes) == [1]
    lanes += [with_spare.ask(2), with_spare.ask(3)]
    assert with_spare.served(*lanes) == [1]
    for _ in range(3):
        with_spare.keep_spare()
    assert len(with_spare.processes) == 2
    (worker,) = lanes[0].heard
    worker.stop()
    assert with_spare.served(*lanes) == [1, 2]
    lanes[2].is_ending = True
    assert with_spare.served(*lanes) == [1, 2, 3]
    with_spare.keep_spare()
    with_spare.keep_spare()
    assert len(with_spare.processes) == 4
    lanes.append(with_spare.ask(4))
    assert with_spare.served(*lanes) == [1, 2, 3, 4]


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
