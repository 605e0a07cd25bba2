"""One ticket performs, the next is read, the last is packed: the order of events on the real service, and faults."""

import os
import signal
import textwrap
import time

import pytest
import requests

from tests.chaos.Control import Control
from tests.hostile_images import nifti

TASK = '''
import importlib
import time
import weakref
from pathlib import Path

from Inputs import IntInput, VolumeInput
from tests.chaos.Control import Control
from tests.chaos.moments import after
from tomaat.services import Task

control = Control(Path(__file__).parents[1] / "control")
packing = importlib.import_module("tomaat.worker.packing")
reading = importlib.import_module("tomaat.worker.reading").InputReader


def pack_when_told(members, archive, before_each):
    control.reach("packing")
    pack(members, archive, before_each)
    control.note("journal", "packed")


def note_read(read, _):
    volumes.append(weakref.ref(read.arguments["scan"].array))
    control.note("journal", f"read {read.payload.values['n']}")
    control.note("volumes", str(sum(volume() is not None for volume in volumes)))


if packing.pack.__name__ != pack_when_told.__name__:
    pack, packing.pack = packing.pack, pack_when_told
    volumes = []
    after(reading, "_read", note_read)


class Held(Task):
    """Performs until it is told to end."""

    task_identifier = "Held"
    description = "Performs until it is told to end."
    inputs = (IntInput("n", "Number"), VolumeInput("scan", "Scan"))

    def perform(self, n, scan):
        control.note("journal", f"begins {n}")
        while not (control.folder / f"go {n}").exists():
            self.progress(0.5, "held")
            time.sleep(0.01)
        control.note("journal", f"ends {n}")
        return {"n": n, "copy": scan}
'''


class Held:
    """An instance whose task, and whose packing, are held until a test lets them go on."""

    def __init__(self, instance, control):
        self.instance = instance
        self.control = control
        self.number = 0

    def submit(self, count):
        """Send tickets; return each with the number that the journal has."""
        sent = []
        for _ in range(count):
            self.number += 1
            sent.append((self.number, self.instance.submit("Held", {"n": self.number}, scan_nii=nifti())))
        return sent

    def go(self, *numbers):
        for number in numbers:
            (self.control.folder / f"go {number}").touch()

    def journal(self):
        path = self.control.folder / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def until(self, line):
        self.instance.until(lambda: line in self.journal())

    def one_packed_and_one_performed(self):
        """Bring two tickets as far as that the first is held while it is packed, the second while it performs."""
        self.control.arm("packing")
        first, second = self.submit(2)
        self.go(first[0])
        self.control.wait_reached("packing", 60)
        self.until(f"begins {second[0]}")
        return first, second

    def rows(self, *sent):
        sql = "SELECT state, claim, attempts FROM tickets WHERE id = ANY(:ids) ORDER BY id"
        return [tuple(row) for row in self.instance.rows(sql, ids=[ticket["id"] for _, ticket in sent])]


@pytest.fixture(scope="module")
def service_of_held_tasks(make_service, tmp_path_factory):
    folder = tmp_path_factory.mktemp("held")
    for name in ("tasks", "control"):
        (folder / name).mkdir()
    (folder / "tasks/Held.py").write_text(textwrap.dedent(TASK))
    instance = make_service(CUSTOM_TASKS_DIR=str(folder / "tasks"), GRACE_SECONDS="0.5", CANCEL_SECONDS="0.5")
    instance.start()
    instance.wait_until_ready("Held")
    return Held(instance, Control(folder / "control"))


@pytest.fixture
def held(service_of_held_tasks):
    yield service_of_held_tasks
    service_of_held_tasks.control.release("packing")
    service_of_held_tasks.go(*range(service_of_held_tasks.number + 1))


def test_while_a_ticket_performs_the_next_is_read_and_the_last_packed(held):
    (one, first), (two, _), (three, third) = tickets = held.submit(3)
    held.go(one)
    held.until(f"begins {two}")
    held.until("packed")
    held.until(f"read {three}")
    assert held.instance.wait(first)["state"] == "succeeded"
    waiting = held.instance.status(third)
    assert (waiting["state"], waiting["claim"], waiting["position"]) == ("queued", 0, 1)
    assert f"ends {two}" not in held.journal()
    held.go(two, three)
    for _, ticket in tickets:
        assert held.instance.wait(ticket)["state"] == "succeeded"
    for n in (one, two, three):
        assert held.journal().count(f"read {n}") == held.journal().count(f"begins {n}") == 1


def test_a_worker_holds_the_volumes_of_three_tickets_at_most(held):
    """The next ticket waits for one that is still packed, however long that takes."""
    first, second = held.one_packed_and_one_performed()
    further = held.submit(3)
    held.until(f"read {further[0][0]}")
    held.go(second[0], *(n for n, _ in further))
    held.until(f"ends {second[0]}")
    time.sleep(1)  # in which the third one would begin, and the fourth one be read
    assert f"begins {further[0][0]}" not in held.journal()
    held.control.release("packing")
    for _, ticket in (first, second, *further):
        assert held.instance.wait(ticket)["state"] == "succeeded"
    assert max(map(int, (held.control.folder / "volumes").read_text().split())) == 3


def test_two_tickets_run_while_one_is_packed_and_each_tells_its_own_stage(held):
    (_, packed), (two, performed) = held.one_packed_and_one_performed()
    held.instance.until(lambda: held.instance.status(packed)["stage"] == "packing")
    held.instance.until(lambda: held.instance.status(performed)["stage"] == "held")
    assert held.instance.status(packed)["state"] == held.instance.status(performed)["state"] == "running"
    held.control.release("packing")
    held.go(two)
    assert held.instance.wait(packed)["state"] == held.instance.wait(performed)["state"] == "succeeded"


def test_a_ticket_given_up_while_it_is_packed_is_cancelled_and_the_other_performs_on(held):
    first, second = held.one_packed_and_one_performed()
    worker = held.instance.worker_pid()
    answer = requests.delete(held.instance.url + first[1]["links"]["cancel"], timeout=10)
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    held.instance.until(lambda: held.instance.status(second[1])["stage"] == "held")
    held.control.release("packing")
    held.go(second[0])
    assert held.instance.wait(second[1])["state"] == "succeeded"
    assert held.instance.wait(first[1])["state"] in {"cancelled", "succeeded"}, "a completion that commits first wins"
    assert held.instance.worker_pid() == worker
    assert [row[1:] for row in held.rows(first, second)] == [(1, 0), (1, 0)]


def test_a_ticket_that_is_read_ahead_and_given_up_is_thrown_away(held):
    first, second, third = held.submit(3)
    held.until(f"read {second[0]}")
    answer = requests.delete(held.instance.url + second[1]["links"]["cancel"], timeout=10)
    assert answer.json()["state"] == "cancelled"
    held.until(f"read {third[0]}")
    held.go(first[0], third[0])
    for _, ticket in (first, third):
        assert held.instance.wait(ticket)["state"] == "succeeded"
    assert f"begins {second[0]}" not in held.journal()


def test_a_worker_killed_while_one_ticket_is_packed_and_another_performs_loses_neither(held):
    first, second = held.one_packed_and_one_performed()
    (third,) = held.submit(1)
    os.kill(held.instance.worker_pid(), signal.SIGKILL)
    held.control.release("packing")
    held.go(second[0], third[0])
    for _, ticket in (first, second, third):
        assert held.instance.wait(ticket)["state"] == "succeeded"
    assert held.rows(first, second, third) == [("succeeded", 2, 0), ("succeeded", 2, 0), ("succeeded", 1, 0)]
    again = held.journal()[held.journal().index(f"begins {second[0]}") + 1 :]
    alone = [f"read {first[0]}", f"begins {first[0]}", f"ends {first[0]}", "packed", f"read {second[0]}"]
    assert [line for line in again if line != f"read {third[0]}"][:5] == alone, "each runs alone afterwards"


def test_a_scheduler_killed_while_one_ticket_is_packed_and_another_performs_loses_neither(held):
    first, second = held.one_packed_and_one_performed()
    held.instance.kill("TaskScheduling.py")
    held.control.release("packing")
    held.go(second[0])
    held.instance.start("TaskScheduling.py")
    for _, ticket in (first, second):
        assert held.instance.wait(ticket)["state"] == "succeeded"
    assert held.rows(first, second) == [("succeeded", 2, 1), ("succeeded", 2, 1)]


def test_a_scheduler_that_stops_puts_both_tickets_back_and_spends_no_attempt(held):
    first, second = held.one_packed_and_one_performed()
    held.instance.terminate("TaskScheduling.py")
    assert {row[0] for row in held.rows(first, second)} <= {"submitted", "queued"}
    held.control.release("packing")
    held.go(second[0])
    held.instance.start("TaskScheduling.py")
    for _, ticket in (first, second):
        assert held.instance.wait(ticket)["state"] == "succeeded"
    assert held.rows(first, second) == [("succeeded", 2, 0), ("succeeded", 2, 0)]
