import threading
import time

import pytest

from tests.unit.fake_store import FakeStore
from tomaat.tickets.states import QUEUED, SUBMITTED, SUCCEEDED, UNENDED
from tomaat.tickets.ticket_store import NewTicket
from tomaat.web.api.waiters import Waiters


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def waiters(store):
    made = Waiters(store, store.hints, places=3, poll_seconds=0.05)
    yield made
    made.close()


def new_ticket(store, **changes):
    ticket = store.submit(NewTicket(token_hash=b"", service="Add", interface_hash="Add-1", folder="f"))
    return store.change(ticket.id, **changes)


def begin(*calls):
    """Call each in a thread of its own; the returned function ends when all have, and gives their answers."""
    answers = [None] * len(calls)

    def answer(place, call):
        answers[place] = call()

    threads = [threading.Thread(target=answer, args=each, daemon=True) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)

    def end():
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        return answers

    return end


def test_a_waiter_is_let_go_when_its_ticket_leaves_the_states(store, waiters):
    ticket = new_ticket(store)
    end = begin(lambda: waiters.wait(ticket.id, {SUBMITTED}, 20))
    began = time.monotonic()
    store.change(ticket.id, state=QUEUED)
    assert end() == [True]
    assert time.monotonic() - began < 2


def test_a_change_between_the_look_and_the_wait_is_not_missed(store, waiters):
    waiters.poll_seconds = 20
    ticket = new_ticket(store, state=SUCCEEDED)
    began = time.monotonic()
    waiters.wait(ticket.id, UNENDED, 20)
    assert time.monotonic() - began < 2


def test_a_wait_is_over_after_its_seconds(store, waiters):
    began = time.monotonic()
    assert waiters.wait(new_ticket(store).id, UNENDED, 0.2)
    assert 0.2 <= time.monotonic() - began < 2


def test_when_all_places_are_taken_the_next_is_not_let_in_and_a_place_comes_back(store, waiters):
    ticket = new_ticket(store)
    end = begin(*[lambda: waiters.wait(ticket.id, UNENDED, 20)] * 3)
    began = time.monotonic()
    assert not waiters.wait(ticket.id, UNENDED, 20)
    assert time.monotonic() - began < 0.2
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [True] * 3
    assert waiters.wait(ticket.id, UNENDED, 20)


def test_all_who_wait_are_asked_for_in_one_query(store, waiters):
    tickets = [new_ticket(store) for _ in range(3)]
    end = begin(*[lambda ticket=ticket: waiters.wait(ticket.id, UNENDED, 20) for ticket in tickets])
    assert store.asked_states[-1] == {ticket.id for ticket in tickets}
    for ticket in tickets:
        store.change(ticket.id, state=SUCCEEDED)
    end()
    asked = len(store.asked_states)
    time.sleep(0.2)
    assert len(store.asked_states) == asked, "nobody waits, and still the database is asked"


def test_waiting_outlives_an_outage_of_the_database(store, waiters):
    ticket = new_ticket(store)
    end = begin(lambda: waiters.wait(ticket.id, UNENDED, 20))
    store.down = True
    time.sleep(0.2)
    store.down = False
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [True]


def test_closing_lets_everybody_go(store, waiters):
    ticket = new_ticket(store)
    end = begin(*[lambda: waiters.wait(ticket.id, UNENDED, 20)] * 3)
    waiters.close()
    assert end() == [False] * 3
    began = time.monotonic()
    waiters.wait(ticket.id, UNENDED, 20)
    assert time.monotonic() - began < 1


def test_what_fails_later_does_not_end_the_waiting(store, waiters):
    def crash():
        raise ValueError("the patient's name")

    waiters.do_later(crash)
    ticket = new_ticket(store)
    end = begin(lambda: waiters.wait(ticket.id, UNENDED, 20))
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [True]
