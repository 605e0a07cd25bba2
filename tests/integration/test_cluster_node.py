"""A node's real program, and the engine's side of it; no cluster is needed for that, and workers are played."""

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tomaat.cluster import bringer
from tomaat.cluster.remote_engine import NodePlace, NodeWishes, RemoteEngine
from tomaat.messages import (
    DRAFT,
    FILES,
    Begin,
    ChannelClosed,
    DeviceUsable,
    DiskFull,
    Estimate,
    Estimated,
    Forget,
    GiveUp,
    MakeRoom,
    Packed,
    Perform,
    Progress,
    ReadAhead,
    Reload,
    Reloaded,
    RoomMade,
    TaskCrashed,
    TaskStopped,
    ToEstimate,
    WorkerReady,
)
from tomaat.processes.proc import start_time
from tomaat.storage.disk import bytes_below

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 30.0  #: after which a test gives up
LEASE_SECONDS = 1.5  #: of the tests that let one pass
SECRET = secrets.token_bytes(32)


class Cluster:
    """An engine, and nodes that are processes of this machine."""

    def __init__(self, folder, *, shared_disk=False, silent_seconds=SECONDS):
        self.folder = folder
        self.top = folder / "node"
        self.tasks = folder / "tasks"
        self.kept = folder / "kept/0"
        for each in (self.tasks, self.kept):
            each.mkdir(parents=True)
            (each / "A.py").write_text("one")
        (self.tasks / "net").mkdir()
        (self.tasks / "net/weights.bin").write_bytes(b"w" * 3_000_000)
        (self.tasks / ".trusted.json").write_text("{}")
        played = REPOSITORY / "tests/integration/played_remote_worker.py"
        self.python = folder / "python"
        self.python.write_text(f'#!/bin/sh\nexec {sys.executable} {played} "$@"\n')
        self.python.chmod(0o755)
        wishes = NodeWishes(
            wanted={"cpu-0": None}, devices={}, memory_bytes={}, options=["--log-format", "json"], most_lanes=1,
            keeps_spare=False, log_format="json", log_level="info", beat_seconds=0.2, silent_seconds=silent_seconds,
            tasks=self.tasks, shared_disk=shared_disk,
        )  # fmt: skip
        self.engine = RemoteEngine(wishes, SECRET, wake_main=lambda: None)
        self.programs = {}
        self.workers = []

    def add(self, name="a", secret=SECRET):
        program = subprocess.Popen(
            [sys.executable, "-m", "tomaat.cluster", "--parent", str(os.getpid())],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.programs[name] = program
        told = {"host": "127.0.0.1", "port": 0, "top": str(self.top), "secret": secret.hex()}
        program.stdin.write(json.dumps(told).encode() + b"\n")
        program.stdin.flush()
        self.engine.join(NodePlace(name=name, host="127.0.0.1", port=json.loads(program.stdout.readline())["port"]))
        return program

    def source(self, name="a"):
        until(lambda: f"{name}/cpu-0" in [source.name for source in self.engine.sources()])
        return next(source for source in self.engine.sources() if source.name.startswith(f"{name}/"))

    def start(self, name="a", lane=1):
        source = self.source(name)
        worker = self.engine.start(source, self.kept, lane, shared=False, ending=lambda: False, python=str(self.python))
        self.workers.append(worker)
        return worker

    def ready(self, name="a"):
        """Start a worker, and let it begin."""
        worker = self.start(name)
        hear(worker, DeviceUsable)
        worker.send(Begin(without=()))
        hear(worker, WorkerReady)
        return worker

    def ticket(self, **files):
        folder = self.folder / "tickets" / secrets.token_hex(16)
        (folder / "in/series").mkdir(parents=True)
        for name, data in ({"main": b"{}"} | files).items():
            (folder / "in/series" / name).write_bytes(data)
        return folder

    def perform(self, ticket, key="1/1", service="Pack"):
        out = ticket / "out" / key.replace("/", "-")
        out.mkdir(parents=True, exist_ok=True)
        return Perform(key=key, service=service, inputs=ticket / "in", out=out, source="a/cpu-0")

    def files_there(self):
        """List what the nodes hold of workers and tickets."""
        folders = [each for each in os.walk(self.top) if "/workers/" in each[0] and "/kept" not in each[0]]
        return [Path(folder, name) for folder, _, names in folders for name in names]

    def stop_workers(self):
        while self.workers:
            if (worker := self.workers.pop()) is not None:
                worker.stop()

    def close(self):
        self.stop_workers()
        self.engine.close()
        for program in self.programs.values():
            program.stdin.close()
            program.wait(SECONDS)
            program.stdout.close()
        until(lambda: not self.engine.nodes)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.add()
    yield made
    made.close()


@pytest.fixture
def cluster(shared):
    """A cluster of one node, which several tests share; their workers are their own."""
    yield shared
    shared.stop_workers()


@pytest.fixture
def own(tmp_path):
    """A cluster whose nodes end in the test."""
    made = Cluster(tmp_path, silent_seconds=LEASE_SECONDS)
    yield made
    made.close()


def until(true):
    give_up = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < give_up, "did not become true"
        time.sleep(0.01)


def hear(worker, kind):
    """Take the worker's next message of a kind; others are passed over."""
    while True:
        assert select.select([worker], [], [], SECONDS)[0], f"the worker said no {kind}"
        message = worker.receive()
        if isinstance(message, kind):
            return message


def hear_end(worker):
    """Wait until the worker has ended; return how."""
    poll = select.poll()
    poll.register(worker.end_fd, select.POLLIN)
    assert poll.poll(SECONDS * 1000)
    return worker.ending()


def is_there(pid, started):
    return start_time(pid) == started


def test_a_tickets_input_and_its_result_travel_and_nothing_of_it_stays(cluster):
    worker = cluster.ready()
    ticket = cluster.ticket(volume=os.urandom(3_000_000), note=b"")
    perform = cluster.perform(ticket)
    worker.send(perform)
    assert hear(worker, Progress).stage == "half way"
    hear(worker, Packed)
    sent = b"".join(each.read_bytes() for each in sorted((ticket / "in/series").iterdir()))
    assert (perform.out / DRAFT).read_bytes() == sent
    assert (perform.out / DRAFT).stat().st_mode & 0o777 == 0o600
    assert (perform.out / FILES).is_dir()
    until(lambda: not cluster.files_there())
    assert cluster.top.stat().st_mode & 0o777 == 0o700


def test_fifty_megabytes_travel_there_and_back_in_pieces(cluster):
    program = cluster.programs["a"]
    worker = cluster.ready()
    before = most_memory_bytes(program.pid)
    perform = cluster.perform(cluster.ticket(volume=os.urandom(50_000_000)))
    worker.send(perform)
    hear(worker, Packed)
    assert (perform.out / DRAFT).stat().st_size == 50_000_002
    assert most_memory_bytes(program.pid) - before < 16_000_000


def most_memory_bytes(pid):
    (line,) = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def test_inputs_that_were_read_ahead_are_not_sent_again_and_go_when_they_are_forgotten(cluster):
    worker = cluster.ready()
    first, second = cluster.ticket(volume=b"1"), cluster.ticket(volume=b"2")
    worker.send(ReadAhead(service="Pack", inputs=first / "in"))
    until(lambda: f"{first.name}/in/" in str(cluster.files_there()))
    (first / "in/series/volume").write_bytes(b"another")  # never happens: so it shows what travelled
    worker.send(cluster.perform(first))
    hear(worker, Packed)
    assert (first / "out/1-1" / DRAFT).read_bytes() == b"{}1"
    worker.send(ReadAhead(service="Pack", inputs=second / "in"))
    until(lambda: f"{second.name}/in/" in str(cluster.files_there()))
    worker.send(Forget())
    until(lambda: not cluster.files_there())


def test_a_small_ticket_costs_at_most_ten_milliseconds_more_than_on_this_machine(cluster):
    worker = cluster.ready()
    seconds = []
    for number in range(30):
        perform = cluster.perform(cluster.ticket(), key=f"{number + 1}/1")
        began = time.monotonic()
        worker.send(perform)
        hear(worker, Packed)
        seconds.append(time.monotonic() - began)
    assert sorted(seconds)[15] < 0.1, "ten times its bound"


def test_a_ticket_that_is_given_up_on_its_way_stops_there(cluster):
    worker = cluster.ready()
    perform = cluster.perform(cluster.ticket(volume=bytes(50_000_000)))
    node = next(cluster.top.glob("*-*/workers"))
    worker.send(perform)
    worker.send(GiveUp(key=perform.key))
    assert hear(worker, TaskStopped).key == perform.key
    until(lambda: not cluster.files_there())
    worker.send(cluster.perform(cluster.ticket(), key="2/1"))
    hear(worker, Packed)
    assert node.is_dir()


def test_a_ticket_that_runs_is_given_up_as_on_this_machine(cluster):
    worker = cluster.ready()
    perform = cluster.perform(cluster.ticket(), service="Wait")
    worker.send(perform)
    hear(worker, Progress)
    worker.send(GiveUp(key=perform.key))
    hear(worker, TaskStopped)


def test_an_input_that_is_gone_or_a_disk_that_is_full_ends_its_ticket_alone(cluster, monkeypatch):
    worker = cluster.ready()
    lost = cluster.perform(cluster.ticket())
    for file in (lost.inputs / "series").iterdir():
        file.unlink()
        file.symlink_to("/etc/hostname")
    worker.send(lost)
    assert "could not be brought" in hear(worker, TaskCrashed).told
    monkeypatch.setattr("tomaat.cluster.remote_worker.take_file", lambda *_: OSError(28, "No space left on device"))
    full = cluster.perform(cluster.ticket(volume=bytes(1000)), key="2/1")
    worker.send(full)
    assert hear(worker, DiskFull).key == "2/1"
    assert bytes_below(full.out) == 1002, "so much room is waited for"


@pytest.mark.parametrize("service", ["Pack", "Full"])
def test_a_node_that_cannot_hold_a_tickets_files_loses_its_worker(cluster, service):
    worker = cluster.ready()
    if service == "Pack":
        shutil.rmtree(worker.place)
        worker.place.touch()  # no folder can be made in it
    worker.send(cluster.perform(cluster.ticket(), service=service))
    assert hear_end(worker) == "was ended, since its node could not hold its files"
    cluster.stop_workers()
    if service == "Pack":
        worker.place.unlink()


def test_no_worker_is_started_on_a_node_that_cannot_hold_its_files(cluster):
    cluster.source()
    (workers,) = cluster.top.glob("*-*/workers")
    workers.rename(workers.with_name("away"))
    try:
        with pytest.raises(OSError, match="its node cannot hold files: No such file"):
            cluster.start()
    finally:
        workers.with_name("away").rename(workers)


def test_room_is_made_while_an_input_is_on_its_way(cluster, monkeypatch):
    worker = cluster.ready()
    may_go_on = threading.Event()
    monkeypatch.setattr(worker.bringer, "bring_inputs", lambda *_, **__: may_go_on.wait(SECONDS))
    worker.send(ReadAhead(service="Pack", inputs=cluster.ticket() / "in"))
    worker.send(MakeRoom())
    hear(worker, RoomMade)
    assert not may_go_on.is_set()
    may_go_on.set()


def test_a_worker_whose_handle_cannot_be_made_leaves_no_connection(cluster, monkeypatch):
    cluster.source()
    node = cluster.engine.nodes["a"]
    before = len(node.streams)
    monkeypatch.setattr("tomaat.cluster.remote_engine.RemoteWorker", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cluster.start()
    assert len(node.streams) == before
    until(lambda: not list(cluster.top.glob("*-*/workers/*")))


def test_two_workers_that_start_together_send_a_nodes_folder_of_tasks_once(own, monkeypatch):
    own.add()
    own.source()
    sent, send_file = [], bringer.send_file

    def send(stream, path, **options):
        sent.append(path.name)
        time.sleep(0.1)
        return send_file(stream, path, **options)

    monkeypatch.setattr(bringer, "send_file", send)
    with ThreadPoolExecutor(2) as lanes:
        assert all(lanes.map(lambda lane: own.start(lane=lane), [1, 2]))
    assert sent.count("weights.bin") == 1


def test_who_ends_waits_for_no_weights_that_are_on_their_way_to_a_node(own, monkeypatch):
    own.add()
    own.source()
    begun = threading.Event()

    def send(stream, path, **_):
        del path
        begun.set()
        stream.receive()  # nothing comes

    monkeypatch.setattr(bringer, "send_file", send)
    with ThreadPoolExecutor(2) as lanes:
        starts = [lanes.submit(own.start, lane=lane) for lane in (1, 2)]
        assert begun.wait(SECONDS)
        own.engine.end_spare()
        try:
            assert [start.result(5) for start in starts] == [None, None]
        finally:
            own.engine.close()


def test_a_worker_that_dies_is_told_with_its_signal_and_another_one_starts(cluster):
    worker = cluster.ready()
    worker.send(cluster.perform(cluster.ticket(), service="Die"))
    assert hear_end(worker) == "was ended by signal 9 (SIGKILL)"
    with pytest.raises(ChannelClosed):
        hear(worker, Packed)
    cluster.stop_workers()
    assert cluster.ready().pid != worker.pid
    until(lambda: len(list(cluster.top.glob("*-*/workers/*"))) == 1)


def test_a_worker_that_is_stopped_ends_at_once(cluster):
    worker = cluster.ready()
    began = time.monotonic()
    cluster.stop_workers()
    assert not is_there(worker.pid, worker.started)
    assert time.monotonic() - began < 5


def test_the_end_of_a_node_is_that_of_its_workers_and_sources(own):
    program = own.add()
    worker, source = own.ready(), own.source()
    program.kill()
    assert "lost with its node" in hear_end(worker)
    until(lambda: not is_there(worker.pid, worker.started))
    until(lambda: own.engine.sources() == [])
    with pytest.raises(OSError, match="its node is away"):
        own.engine.start(source, own.kept, 1, shared=False, ending=lambda: False)


def test_a_node_that_hears_nothing_any_longer_ends_its_workers_by_itself(own, monkeypatch):
    monkeypatch.setattr("tomaat.cluster.outbox.BEAT_SECONDS", 3600.0)  # as if the cable were cut
    program = own.add()
    worker = own.ready()
    assert program.wait(SECONDS) == 0
    assert not is_there(worker.pid, worker.started)
    assert "lost with its node" in hear_end(worker)


def test_a_node_that_is_frozen_counts_as_dead_within_a_lease(own):
    program = own.add()
    worker = own.ready()
    os.kill(program.pid, 19)
    began = time.monotonic()
    try:
        assert "lost with its node" in hear_end(worker)
        assert time.monotonic() - began < 2 * LEASE_SECONDS
        assert own.engine.sources() == []
    finally:
        os.kill(program.pid, 18)
    until(lambda: not is_there(worker.pid, worker.started))


@pytest.mark.parametrize("sweeper", ["at once", "at the next start"])
def test_what_a_killed_node_leaves_is_swept(own, sweeper):
    program = own.add()
    worker = own.ready()
    worker.send(own.perform(own.ticket(volume=b"MILLER"), service="Wait"))
    hear(worker, Progress)
    assert own.files_there()
    children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    (its_sweeper,) = {int(pid) for pid in children} - {worker.pid}
    if sweeper == "at the next start":
        os.kill(its_sweeper, signal.SIGKILL)
    program.kill()
    program.wait()
    until(lambda: own.engine.sources() == [])
    if sweeper == "at once":
        until(lambda: not own.files_there())
        return
    assert own.files_there()
    program.stdin.close()
    program.stdout.close()
    own.add()
    own.source()
    assert not own.files_there()


def test_who_does_not_know_the_secret_gets_nothing(own):
    own.add(secret=secrets.token_bytes(32))
    until(lambda: not own.engine.nodes)
    assert own.engine.sources() == []


def test_tasks_travel_once_whole_and_a_change_when_it_is_asked_for(cluster):
    worker = cluster.ready()
    before = len(list((cluster.top / "files").iterdir()))
    (node,) = cluster.top.glob("*-*")
    there = {str(path.relative_to(node / "tasks")) for path in (node / "tasks").rglob("*") if path.is_file()}
    assert there == {"A.py", "net/weights.bin", ".trusted.json"}
    weights = (node / "tasks/net/weights.bin").stat()
    assert weights.st_mtime_ns == (cluster.tasks / "net/weights.bin").stat().st_mtime_ns
    copy = cluster.folder / "kept/1"
    copy.mkdir()
    for place in (copy, cluster.tasks):
        (place / "A.py").write_text("two")
    worker.send(Reload(copy=copy, files=("A.py",)))
    assert hear(worker, Reloaded).services == ("twotwo",)
    assert (node / "tasks/net/weights.bin").stat().st_ino == weights.st_ino
    assert len(list((cluster.top / "files").iterdir())) == before + 1


def test_a_task_is_asked_how_long_tickets_of_numbers_take_and_no_volume_travels_for_that(cluster):
    worker = cluster.ready()
    small, large = cluster.ticket(), cluster.ticket(volume=bytes(100_000))
    asked = (
        ToEstimate(ticket=0, service="Pack", inputs=small / "in"),
        ToEstimate(ticket=1, service="Pack", inputs=large / "in"),
    )
    worker.send(Estimate(tickets=asked))
    told = dict(hear(worker, Estimated).seconds) | dict(hear(worker, Estimated).seconds)
    assert told == {0: 7.0, 1: None}
    until(lambda: not cluster.files_there())


def test_a_nodes_log_and_readings_come_here(cluster, capfd):
    cluster.ready()
    lines = ""

    def has_come():
        nonlocal lines
        lines += capfd.readouterr().err
        return "place '' cpu one" in lines

    until(has_come)
    readings = []
    until(lambda: readings.append(cluster.engine.reading("a/cpu-0")) or readings[-1])
    assert readings[-1].total_bytes > 0


def test_with_a_shared_disk_nothing_is_copied(tmp_path):
    made = Cluster(tmp_path, shared_disk=True)
    with contextlib.closing(made):
        made.add()
        worker = made.ready()
        perform = made.perform(made.ticket())
        worker.send(perform)
        hear(worker, Packed)
        assert (perform.out / DRAFT).read_bytes() == b"{}"
        assert not made.files_there()
        assert list((made.top / "files").iterdir()) == []
