"""The lanes of one source: how many there are, and that they begin and end together."""

import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.need import Need
from tomaat.scheduling import scheduler as module
from tomaat.scheduling.environment import environments_of
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.scheduler import Scheduler
from tomaat.tickets.source_store import Lease

GIB = 2**30
SOURCE = ComputeSource(
    name="here/GPU-1",
    device_name="GPU",
    memory_bytes=10 * GIB,
    torch_device="cuda:0",
    visible_devices="GPU-1",
    services=None,
    problem=None,
)


class PlayedLane:
    """Runs until it is told to end."""

    def __init__(self, lanes, kept):
        self.ends = threading.Event()
        self.beside = lanes.join(lambda: None)
        self.kept = kept
        self.lease_lost = False
        self.closed = False

    def run(self):
        self.ends.wait()

    def abandon(self):
        self.lease_lost = True
        self.ends.set()

    def stop(self):
        self.stopped = True
        self.ends.set()

    def close(self):
        self.closed = True


@pytest.fixture
def schedule(tmp_path, monkeypatch):
    """Make a scheduler of one source, whose lanes are played; return it, its lanes, and what it has written."""
    (tmp_path / "tasks").mkdir()
    monkeypatch.setattr(module.os, "cpu_count", lambda: 16)
    made, ended = [], []

    def make(lanes, pythons=()):
        sources = Mock(lease_seconds=5.0)
        sources.last_holder.return_value = None
        sources.take.side_effect = lambda name, holder: Lease(name=name, holder=holder, epoch=len(made))
        sources.workers_of.return_value = [(11, 1), (12, 1), (13, 1)]

        def make_lane(source, _lease, told, kept):
            made.append(PlayedLane(told, kept))
            made[-1].source = source
            return made[-1]

        own, others = environments_of(dict(pythons))
        kept = {SOURCE.name: KeptTasks(tmp_path / "tasks", tmp_path / "kept", environment=own)}
        engine = Mock(end_left_over=lambda _, pid, __: ended.append(pid) or True)
        engine.sources.return_value = [SOURCE]
        scheduler = Scheduler(
            sources, make_lane, engine, Mock(),
            reloads=Mock(), kept=kept, poll_seconds=1.0, lanes=lanes,
            environments=others,
        )  # fmt: skip
        return SimpleNamespace(scheduler=scheduler, lanes=made, sources=sources, ended=ended)

    yield make
    for lane in made:
        lane.ends.set()


def hold(made):
    made.scheduler._hold(SOURCE)


def test_who_takes_a_source_ends_the_left_over_workers_of_all_its_lanes(schedule):
    made = schedule(2)
    hold(made)
    assert made.ended == [11, 12, 13]


def test_a_source_that_left_ends_its_lanes_and_gives_its_lease_back_and_may_come_again(schedule):
    made = schedule(2)
    made.scheduler.reloads.asked.return_value = []
    made.scheduler.engine.duties = ()
    made.scheduler.engine.reading.return_value = None
    made.sources.renew_all.side_effect = lambda held: {lease.name for lease in held}
    made.scheduler._beat()
    assert len(made.lanes) == 2
    made.scheduler.engine.sources.return_value = []
    made.scheduler._beat()
    assert all(lane.stopped for lane in made.lanes)
    for running in made.scheduler.running.values():
        for lane in running.lanes:
            lane.thread.join(60)
    made.scheduler._beat()
    assert made.scheduler.running == {}
    assert all(lane.closed for lane in made.lanes)
    made.sources.release.assert_called_once()
    made.scheduler.engine.sources.return_value = [SOURCE]
    made.scheduler._beat()
    assert len(made.lanes) == 4


def test_a_source_that_left_is_closed_once_although_its_lease_cannot_be_given_back(schedule):
    made = schedule(1)
    hold(made)
    (lane,) = made.lanes
    lane.ends.set()
    made.scheduler.running[SOURCE.name].lanes[0].thread.join(60)
    lane.stop = lambda: None
    made.sources.release.side_effect = DatabaseUnavailable("away")
    with pytest.raises(DatabaseUnavailable):
        made.scheduler._let_go(SOURCE.name)
    assert lane.closed
    assert made.scheduler.running == {}


def test_each_lane_has_a_copy_of_the_tasks_of_its_own(schedule):
    made = schedule(3)
    hold(made)
    assert [lane.beside.number for lane in made.lanes] == [1, 2, 3]
    assert len({lane.kept.copy for lane in made.lanes}) == 3
    made.sources.note_lanes.assert_called_once()


def test_a_lane_that_ends_by_its_own_fault_is_followed_by_all_and_then_the_source_is_taken_afresh(schedule):
    made = schedule(2)
    hold(made)
    first, second = made.lanes
    first.ends.set()
    made.scheduler.running[SOURCE.name].lanes[0].thread.join(60)
    hold(made)
    assert second.lease_lost
    assert not first.closed, "another lane might wake it"
    made.scheduler.running[SOURCE.name].lanes[1].thread.join(60)
    hold(made)
    assert (first.closed, second.closed) == (True, True)
    assert not Path(second.kept.under).exists()
    hold(made)
    assert len(made.lanes) == 4


def test_where_no_number_is_given_lanes_are_added_once_it_is_known_that_they_fit(schedule):
    made = schedule(None)
    hold(made)
    (first,) = made.lanes
    first.beside.tell(complete=True, needs={"A": Need(network_bytes=GIB, peak_bytes=None, load_seconds=1.0)})
    hold(made)
    assert len(made.lanes) == 1
    first.beside.tell(needs={"A": Need(network_bytes=GIB, peak_bytes=2 * GIB, load_seconds=1.0)})
    hold(made)
    assert [call.args[1] for call in made.sources.note_lanes.call_args_list] == [1, 3]
    assert len(made.lanes) == 3
    hold(made)
    assert len(made.lanes) == 3


def test_each_other_environment_has_one_more_lane_with_its_own_folders_alone(schedule, tmp_path):
    for name in ("Liver", "Heart", "Spleen"):
        (tmp_path / "tasks" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "tasks" / name / "plans.json").touch()
    (tmp_path / "tasks" / "A.py").touch()
    made = schedule(2, {"Liver": "/x/python", "Heart": "/y/python", "Spleen": "/x/python"})
    hold(made)
    assert [(lane.kept.environment.python, lane.kept.files()) for lane in made.lanes] == [
        (None, {"A.py"}),
        (None, {"A.py"}),
        ("/x/python", {"Liver", "Spleen"}),
        ("/y/python", {"Heart"}),
    ]
    (tmp_path / "tasks" / "Liver" / "plans.json").write_text("2")
    assert [lane.kept.changed() for lane in made.lanes] == [set(), set(), {"Liver"}, set()]
    made.sources.note_lanes.assert_called_once_with(made.scheduler.running[SOURCE.name].lease, 4)
    hold(made)
    assert len(made.lanes) == 4


def test_a_source_that_offers_nothing_of_an_environment_has_no_lane_of_it(schedule):
    made = schedule(1, {"Liver": "/x/python", "Heart": "/y/python"})
    made.scheduler._hold(replace(SOURCE, services=("Liver", "Dummy")))
    assert [lane.source.services for lane in made.lanes] == [("Dummy",), ("Liver",)]
