"""A worker waits, its imports done, to take the place of the one that is killed."""

import os
import signal
from pathlib import Path

import pytest

from tests.service import Service
from tomaat.processes.proc import start_time


@pytest.fixture(scope="module")
def service(tmp_path_factory, make_database):
    made = Service(tmp_path_factory.mktemp("spare"), make_database(), SPARE_WORKER="true", LEASE_SECONDS="5")
    made.start()
    made.wait_until_ready()
    yield made
    made.stop()


def workers(service):
    """List the processes of the worker's program that TaskScheduling has started."""
    door = service.doors["TaskScheduling.py"].pid
    children = Path(f"/proc/{door}/task/{door}/children").read_text().split()
    return {int(pid) for pid in children if b"tomaat.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def spare_of(service):
    service.until(lambda: len(workers(service)) == 2)
    (spare,) = workers(service) - {service.worker_pid()}
    return spare


def test_a_killed_workers_place_is_taken_by_the_spare_and_that_is_replaced(service):
    spare, killed = spare_of(service), service.worker_pid()
    os.kill(killed, signal.SIGKILL)
    service.until(lambda: service.worker_pid() == spare)
    ticket = service.submit("FloatComputation", {"f1": 1.0, "f2": 2.0, "op": "add"})
    assert service.wait(ticket)["state"] == "succeeded"
    assert service.worker_pid() == spare
    assert spare_of(service) not in {spare, killed}


def test_a_spare_has_no_secret_and_dies_with_its_door(service):
    spare = spare_of(service)
    assert b"TOMAAT_" not in Path(f"/proc/{spare}/environ").read_bytes()
    service.kill("TaskScheduling.py")
    service.until(lambda: start_time(spare) is None)
    service.start("TaskScheduling.py")
