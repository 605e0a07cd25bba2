"""Doors and workers that are killed, stopped and started again: no ticket is lost, none is completed twice."""

import json
import os
import signal
import time

import pytest

from tests.service import DOORS, payload
from tomaat.postgres.private_postgres import PrivatePostgres
from tomaat.processes.proc import start_time


def submit_some(instance, count, seconds=0.05):
    """Tickets whose results can be told from each other."""
    tickets = []
    for number in range(count):
        if number % 2:
            tickets.append((instance.submit("FloatComputation", {"f1": number, "f2": 0.5}), number + 0.5))
        else:
            tickets.append((instance.submit("Dummy", {"seconds": seconds}), None))
    return tickets


def check_all(instance, tickets):
    """All succeeded, with their own results, and the row names the one result that is on disk."""
    for ticket, value in tickets:
        status = instance.wait(ticket, 90)
        assert status["state"] == "succeeded", status
        result = json.loads(instance.result(ticket)["result.json"])
        if value is not None:
            assert result["outputs"][0]["value"] == value
    for row in instance.rows("SELECT folder, claim_folder FROM tickets"):
        out = instance.folder / "storage/tickets" / row.folder / "out"
        assert [path.name for path in out.iterdir()] == [row.claim_folder]


@pytest.fixture(scope="module")
def shared(make_service):
    """An instance whose doors the tests end, one after another."""
    return make_service(COMPUTE_SOURCES='{"cpu-0": null, "cpu-1": ["FloatComputation"]}', GRACE_SECONDS="0.5")


@pytest.fixture
def instance(shared):
    """The shared instance, with all of its doors at work; ``Dummy`` runs on its first source alone."""
    ended = [door for door in DOORS if door not in shared.doors or shared.doors[door].poll() is not None]
    if ended:
        shared.start(*ended)
    shared.wait_until_ready()
    ticket = shared.submit("Dummy", {"seconds": 0})
    assert shared.wait(ticket)["state"] == "succeeded"
    return shared


@pytest.mark.thorough
@pytest.mark.parametrize("door", DOORS)
def test_a_door_killed_under_load_and_started_again_goes_on(instance, door):
    tickets = submit_some(instance, 20)
    for _ in range(2):
        time.sleep(0.3)
        instance.kill(door)
        instance.start(door)
        time.sleep(0.7)
    check_all(instance, tickets)


@pytest.mark.thorough
def test_all_doors_killed_at_once_and_started_again_go_on(instance):
    tickets = submit_some(instance, 10, seconds=0.3)
    for door in DOORS:
        instance.doors[door].kill()
    for door in DOORS:
        instance.doors[door].wait()
    instance.start()
    check_all(instance, tickets)


def test_a_killed_scheduler_takes_its_worker_with_it(instance):
    pid = instance.worker_pid()
    started = start_time(pid)
    assert started is not None
    instance.kill("TaskScheduling.py")
    deadline = time.monotonic() + 2
    while start_time(pid) == started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert start_time(pid) != started


def test_a_killed_workers_ticket_is_run_again(instance):
    ticket = instance.submit("Dummy", {"seconds": 1.5})
    instance.until(lambda: instance.status(ticket)["state"] == "running")
    os.kill(instance.worker_pid(), signal.SIGKILL)
    status = instance.wait(ticket)
    assert (status["state"], status["claim"]) == ("succeeded", 2)


def test_a_ticket_whose_worker_dies_each_time_fails_with_a_reason(own_service):
    instance = own_service(ATTEMPTS="1")
    instance.start()
    instance.until(lambda: "source.ready" in instance.log("TaskScheduling.py"), 90)  # no death is a network's fault now
    instance.wait_until_ready()
    ticket = instance.submit("Dummy", {"seconds": 30})
    instance.until(lambda: instance.status(ticket)["state"] == "running")
    os.kill(instance.worker_pid(), signal.SIGSEGV)
    status = instance.wait(ticket)
    assert status["state"] == "failed"
    assert status["error"]["type"] == "/problems/worker-died"
    assert "SIGSEGV" in status["error"]["detail"]
    after = instance.submit("FloatComputation", {"f1": 1, "f2": 1})
    assert instance.wait(after)["state"] == "succeeded"


def test_an_idle_worker_that_dies_is_replaced(instance):
    deaths = instance.log("TaskScheduling.py").count("worker.died")
    os.kill(instance.worker_pid(), signal.SIGKILL)
    instance.until(
        lambda: instance.log("TaskScheduling.py").count("worker.died") > deaths
    )  # on a busy machine that takes a while
    ticket = instance.submit("Dummy", {"seconds": 0})
    status = instance.wait(ticket)
    assert (status["state"], status["claim"]) == ("succeeded", 1)


@pytest.mark.parametrize("door", DOORS)
def test_sigterm_ends_a_door_within_seconds(instance, door):
    before = instance.log(door).count("door.closed")
    assert instance.terminate(door, timeout=10) == 0
    assert instance.log(door).count("door.closed") == before + 1


def test_a_door_that_still_waits_for_its_database_ends_on_sigterm(own_service):
    instance = own_service(DATABASE_URL="postgresql://nobody:x@127.0.0.1:9/none")
    instance.start()
    instance.until(lambda: all("database.waiting" in instance.log(door) for door in DOORS))
    for door in DOORS:
        assert instance.terminate(door, timeout=10) == 0
        assert ":x@" not in instance.log(door)


def test_a_hangup_before_there_are_lanes_does_not_end_the_scheduler(own_service):
    instance = own_service(DATABASE_URL="postgresql://nobody:x@127.0.0.1:9/none")
    instance.start("TaskScheduling.py")
    instance.until(lambda: "database.waiting" in instance.log("TaskScheduling.py"))
    instance.doors["TaskScheduling.py"].send_signal(signal.SIGHUP)
    assert instance.terminate("TaskScheduling.py", timeout=10) == 0


def test_a_stopping_scheduler_puts_a_long_ticket_back_and_spends_no_attempt(instance):
    ticket = instance.submit("Dummy", {"seconds": 3})
    instance.until(lambda: instance.status(ticket)["state"] == "running")
    instance.terminate("TaskScheduling.py")
    instance.until(lambda: instance.status(ticket)["state"] in {"submitted", "queued"})
    assert instance.rows("SELECT attempts FROM tickets WHERE id = :id", id=ticket["id"])[0].attempts == 0
    instance.start("TaskScheduling.py")
    assert instance.wait(ticket)["state"] == "succeeded"


def test_a_stopping_scheduler_lets_a_short_ticket_finish(own_service):
    instance = own_service(GRACE_SECONDS="10")
    instance.start()
    instance.wait_until_ready()
    ticket = instance.submit("Dummy", {"seconds": 1})
    instance.until(lambda: instance.status(ticket)["state"] == "running")
    instance.terminate("TaskScheduling.py")
    status = instance.status(ticket)
    assert (status["state"], status["claim"]) == ("succeeded", 1)


def test_a_second_scheduler_and_a_second_manager_wait_for_the_first(instance):
    first = dict(instance.doors)
    held = {"TaskScheduling.py": "source.held", "QueueManager.py": "manager.held"}
    before = {door: instance.log(door).count(event) for door, event in held.items()}
    instance.start(*held)
    for door, event in held.items():
        instance.until(lambda door=door, event=event: instance.log(door).count(event) > before[door])
    for door in ("TaskScheduling.py", "QueueManager.py"):
        first[door].kill()
        first[door].wait()
    ticket = instance.submit("FloatComputation", {"f1": 1, "f2": 1})
    assert instance.wait(ticket)["state"] == "succeeded"


def test_a_scheduler_stopped_for_longer_than_its_lease_cannot_complete_what_another_runs(own_service):
    instance = own_service(LEASE_SECONDS="2")
    instance.start()
    instance.wait_until_ready()
    ticket = instance.submit("Dummy", {"seconds": 1})
    instance.until(lambda: instance.status(ticket)["state"] == "running")
    stale = instance.doors["TaskScheduling.py"]
    os.kill(stale.pid, signal.SIGSTOP)
    instance.start("TaskScheduling.py")
    status = instance.wait(ticket)
    os.kill(stale.pid, signal.SIGCONT)
    assert (status["state"], status["claim"]) == ("succeeded", 2)
    instance.until(lambda: "source.lost" in instance.log("TaskScheduling.py"))
    out = instance.folder / "storage/tickets" / instance.rows("SELECT folder FROM tickets")[0].folder / "out"
    instance.until(lambda: [path.name.partition("-")[0] for path in out.iterdir()] == ["2"], 10)
    stale.terminate()
    stale.wait(15)


@pytest.mark.thorough
def test_postgresql_killed_under_load_and_started_again_loses_nothing(own_service, tmp_path):
    server = PrivatePostgres(tmp_path / "own-postgres")
    url = server.start()
    try:
        instance = own_service(DATABASE_URL=url)
        instance.database_url = url
        instance.start()
        instance.wait_until_ready()
        tickets = submit_some(instance, 10, seconds=0.2)
        os.kill(server.pid, signal.SIGKILL)
        time.sleep(1)
        assert instance.post("FloatComputation", payload({"f1": 1, "f2": 1})).status_code == 503
        server.stop()
        server.start()
        check_all(instance, tickets)
        assert all(row.attempts == 0 for row in instance.rows("SELECT attempts FROM tickets"))
    finally:
        for door in instance.doors.values():
            door.kill()
            door.wait()
        server.remove()


def test_a_storage_folder_of_another_database_is_refused(own_service):
    first, second = own_service(), own_service()
    first.start("WebService.py")
    first.until(lambda: first.services() == [])
    second.environment["TOMAAT_BASE_STORAGE_DIR"] = first.environment["TOMAAT_BASE_STORAGE_DIR"]
    second.start("QueueManager.py")
    assert second.doors["QueueManager.py"].wait(60) == 2
    assert "belongs to the database" in second.log("QueueManager.py")


def test_a_busy_port_is_named(own_service):
    first, second = own_service(), own_service()
    first.start("WebService.py")
    first.until(lambda: first.services() == [])
    second.environment["TOMAAT_PORT"] = str(first.port)
    second.start("WebService.py")
    assert second.doors["WebService.py"].wait(60) == 2
    assert f"port {first.port}" in second.log("WebService.py")
