"""Several tickets side by side on one compute source, each in a worker of its own, and what befalls them."""

import os
import signal

import pytest
import requests

from tomaat.processes.proc import start_time

LANES = 4
TASK = '''
import time
from pathlib import Path

from Inputs import IntInput
from tomaat.services import Task

ROOM = Path(__file__).parents[1] / "room"


class Meeting(Task):
    """Waits until so many tickets have come together as were expected, and then for the word to go."""

    task_identifier = "Meeting"
    description = "Ends when enough others run at the same time."
    inputs = (IntInput("number", "Number"), IntInput("expected", "Tickets that meet"))

    def perform(self, number, expected):
        here = ROOM / str(number)
        here.touch()
        while len([name for name in ROOM.iterdir() if name.name.isdecimal()]) < expected or (ROOM / "stay").exists():
            self.progress(0.5, "waiting")
            time.sleep(0.02)
        return {"number": number}
'''


@pytest.fixture
def meeting(own_service, tmp_path):
    """Start an instance of four lanes, whose tickets meet in a folder."""

    def start(**settings):
        for folder in ("tasks", "room"):
            (tmp_path / folder).mkdir()
        (tmp_path / "tasks" / "MeetingTask.py").write_text(TASK)
        made = own_service(
            **{"LANES": str(LANES), "CUSTOM_TASKS_DIR": str(tmp_path / "tasks"), "CANCEL_SECONDS": "0.5", **settings}
        )
        made.room = tmp_path / "room"
        made.start()
        made.wait_until_ready("Meeting")
        made.until(lambda: len(workers(made)) == LANES)
        return made

    return start


def workers(instance):
    """The workers that live, by their lanes."""
    rows = instance.rows("SELECT lane, pid, started FROM workers")
    return {row.lane: row.pid for row in rows if start_time(row.pid) == row.started}


def submit(instance, count, *, expected, first=0):
    return [instance.submit("Meeting", {"number": first + n, "expected": expected}) for n in range(count)]


def all_met(instance, tickets):
    """Wait until all of them run, in a lane each."""
    instance.until(lambda: all(instance.status(ticket)["state"] == "running" for ticket in tickets), 60)
    ids = [ticket["id"] for ticket in tickets]
    lanes = instance.rows("SELECT lane FROM tickets WHERE id = ANY(:ids)", ids=ids)
    assert len({row.lane for row in lanes}) == len(tickets)


def stay(instance):
    (instance.room / "stay").touch()


def go(instance):
    (instance.room / "stay").unlink()


def claims(instance):
    return [(row.state, row.claim, row.attempts) for row in instance.rows("SELECT * FROM tickets ORDER BY id")]


def test_as_many_tickets_as_lanes_run_side_by_side_and_the_next_ones_after_them(meeting):
    instance = meeting()
    tickets = submit(instance, 2 * LANES, expected=LANES)
    for ticket in tickets:
        assert instance.wait(ticket)["state"] == "succeeded"
    assert claims(instance) == [("succeeded", 1, 0)] * 2 * LANES


def test_a_killed_worker_harms_its_own_ticket_only(meeting):
    instance = meeting()
    stay(instance)
    tickets = submit(instance, LANES, expected=LANES)
    all_met(instance, tickets)
    (lane,) = instance.rows("SELECT lane FROM tickets WHERE id = :id", id=tickets[1]["id"])
    os.kill(workers(instance)[lane.lane], signal.SIGKILL)
    instance.until(lambda: instance.rows("SELECT FROM tickets WHERE attempts = 1"))
    go(instance)
    for ticket in tickets:
        assert instance.wait(ticket)["state"] == "succeeded"
    assert [claim for _, claim, _ in claims(instance)] == [1, 2, 1, 1]


def test_one_of_four_is_cancelled_and_its_lane_goes_on(meeting):
    instance = meeting()
    stay(instance)
    tickets = submit(instance, LANES, expected=LANES)
    all_met(instance, tickets)
    requests.delete(f"{instance.url}{tickets[2]['links']['cancel']}", timeout=10)
    assert instance.wait(tickets[2])["state"] == "cancelled"
    more = submit(instance, 1, expected=1, first=LANES)
    all_met(instance, [*tickets[:2], tickets[3], *more])
    go(instance)
    for ticket in [*tickets[:2], tickets[3], *more]:
        assert instance.wait(ticket)["state"] == "succeeded"


@pytest.mark.thorough
def test_a_killed_scheduler_takes_all_workers_with_it_and_loses_nothing(meeting):
    instance = meeting(LEASE_SECONDS="3")
    stay(instance)
    tickets = submit(instance, LANES, expected=LANES)
    all_met(instance, tickets)
    killed = workers(instance)
    instance.kill("TaskScheduling.py")
    instance.until(lambda: not workers(instance))
    instance.start("TaskScheduling.py")
    go(instance)
    for ticket in tickets:
        assert instance.wait(ticket)["state"] == "succeeded"
    assert claims(instance) == [("succeeded", 2, 1)] * LANES
    assert not set(killed.values()) & set(workers(instance).values())


@pytest.mark.thorough
def test_a_stopping_scheduler_puts_the_tickets_of_all_lanes_back(meeting):
    instance = meeting(GRACE_SECONDS="0.5")
    stay(instance)
    tickets = submit(instance, LANES, expected=LANES)
    all_met(instance, tickets)
    assert instance.terminate("TaskScheduling.py", timeout=60) == 0
    assert {attempts for _, _, attempts in claims(instance)} == {0}
    assert not instance.rows("SELECT FROM tickets WHERE state = 'running'")
    go(instance)
    instance.start("TaskScheduling.py")
    for ticket in tickets:
        assert instance.wait(ticket)["state"] == "succeeded"


def test_a_drained_source_claims_nothing_more_in_any_lane(meeting):
    instance = meeting()
    stay(instance)
    tickets = submit(instance, 2, expected=2)
    all_met(instance, tickets)
    instance.rows("UPDATE compute_sources SET drained = true RETURNING name")
    more = submit(instance, 2, expected=2, first=2)
    go(instance)
    for ticket in tickets:
        assert instance.wait(ticket)["state"] == "succeeded"
    assert {instance.status(ticket)["state"] for ticket in more} <= {"submitted", "queued"}
    instance.rows("UPDATE compute_sources SET drained = false RETURNING name")
    for ticket in more:
        assert instance.wait(ticket)["state"] == "succeeded"
