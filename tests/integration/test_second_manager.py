"""A second QueueManager beside the first: processes of their own on one database, whose lane's side is played."""

import signal
import time

import pytest

from tests.service import Service

MANAGER = "QueueManager.py"
LEASE_SECONDS, POLL_SECONDS = 2.0, 0.2
BUSY_SECONDS = 20.0  #: on a busy machine


@pytest.fixture
def service(tmp_path, bench, database_url):
    """Doors on a database whose one source takes tickets; each that was started ends."""
    bench.source()
    made = Service(tmp_path, database_url, LEASE_SECONDS=str(LEASE_SECONDS), POLL_SECONDS=str(POLL_SECONDS))
    made.managers = []
    yield made
    for manager in made.managers:
        manager.kill()
        manager.wait()


def test_a_second_manager_takes_over_within_a_lease_and_at_once_from_one_that_is_gone(service, bench):
    def heard(event):
        return service.log(MANAGER).count(event)

    def start():
        service.start(MANAGER)
        service.managers.append(service.doors[MANAGER])
        return service.managers[-1]

    def queued_after():
        ticket, began = bench.submit(), time.monotonic()
        service.until(lambda: bench.read(ticket).state == "queued")
        seconds = time.monotonic() - began
        assert seconds < LEASE_SECONDS + POLL_SECONDS + BUSY_SECONDS
        return seconds

    first = start()
    service.until(lambda: heard("manager.took_over") == 1)
    second = start()
    service.until(lambda: heard("manager.held") == 1)
    queued_after()

    first.send_signal(signal.SIGSTOP)
    assert queued_after() > LEASE_SECONDS / 2, "the first one may be alive"
    assert heard("manager.took_over") == 2
    first.send_signal(signal.SIGCONT)
    service.until(lambda: heard("manager.held") == 2)
    queued_after()
    assert heard("manager.took_over") == 2, "the first one waits now"

    second.send_signal(signal.SIGTERM)
    second.wait(30)
    queued_after()
    assert heard("manager.took_over") == 3
    start()
    service.until(lambda: heard("manager.held") == 3)
    first.kill()
    first.wait()
    queued_after()
    assert heard("manager.took_over") == 4
