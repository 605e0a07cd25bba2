import dataclasses
import threading
import time

import pytest

from tests.unit.fake_store import FakeStore
from tomaat.tickets.states import QUEUED, SUBMITTED, SUCCEEDED, UNENDED
from tomaat.tickets.ticket_store import NewTicket
from tomaat.web.api import waiters as waiters_module
from tomaat.web.api.waiters import Waiters


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def waiters(store):
    """With a poll that comes too late for any test: what is seen is seen because of a hint."""
    made = Waiters(store, store.hints, places=3, poll_seconds=600)
    yield made
    made.close()


@pytest.fixture
def polling(store):
    made = Waiters(store, store.hints, places=3, poll_seconds=0.05)
    yield made
    made.close()


def wait(waiters, ticket, seconds=20, *, while_in=UNENDED):
    """Wait as a request does that reads its ticket now; return the ticket's state afterwards."""
    since = time.monotonic()
    waited = waiters.wait(ticket, while_in, seconds, since=since)
    return waited and waited.ticket.state


def new_ticket(store, **changes):
    ticket = store.submit(NewTicket(token_hash=b"", service="Add", interface_hash="Add-1", folder="f"))
    ticket = store.change(ticket.id, **changes)
    time.sleep(0.05)  # the hint of that is heard before anybody waits
    return ticket


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


def test_a_waiter_is_let_go_with_the_ticket_as_it_is_when_it_leaves_the_states(store, waiters):
    ticket = new_ticket(store)
    end = begin(lambda: wait(waiters, ticket, while_in={SUBMITTED}))
    store.change(ticket.id, state=QUEUED)
    assert end() == [QUEUED]
    assert len(store.asked) == 1, "the row that tells the end is the answer"


def test_a_change_between_the_look_and_the_wait_is_not_missed(store, waiters):
    ticket = new_ticket(store)
    since = time.monotonic()
    store.change(ticket.id, state=SUCCEEDED)
    time.sleep(0.1)  # the hint was heard before anybody waits
    assert waiters.wait(ticket, UNENDED, 20, since=since).ticket.state == SUCCEEDED


def test_what_was_heard_before_the_look_is_no_reason_to_look_again(store, waiters):
    ticket = new_ticket(store)
    store.change(ticket.id, progress=0.5)
    time.sleep(0.1)
    assert wait(waiters, ticket, 0.2) == SUBMITTED
    assert store.asked == []


def test_a_hint_about_others_is_no_reason_to_look(store, waiters):
    ticket, other = new_ticket(store), new_ticket(store)
    end = begin(lambda: wait(waiters, ticket))
    store.change(other.id, state=SUCCEEDED)
    time.sleep(0.1)
    assert store.asked == []
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [SUCCEEDED]
    assert store.asked == [{ticket.id}]


@pytest.mark.parametrize("listening", [True, False])
def test_where_anything_may_have_happened_a_ticket_is_looked_at(store, waiters, listening):
    ticket = new_ticket(store)
    store.tickets[ticket.id] = store.change(ticket.id, state=SUCCEEDED)
    time.sleep(0.1)
    store.hints.listening = listening
    end = begin(lambda: wait(waiters, ticket))
    if listening:
        store.hints.send("")
    assert end() == [SUCCEEDED]


def test_a_lost_hint_costs_a_polling_interval(store, polling):
    ticket = new_ticket(store)
    end = begin(lambda: wait(polling, ticket))
    store.tickets[ticket.id] = dataclasses.replace(ticket, state=SUCCEEDED)
    assert end() == [SUCCEEDED]


def test_a_wait_is_over_after_its_seconds_and_the_ticket_is_read_again(store, waiters):
    began = time.monotonic()
    ticket = new_ticket(store)
    store.tickets[ticket.id] = dataclasses.replace(ticket, state=QUEUED)
    assert wait(waiters, ticket, 0.2) == QUEUED
    assert 0.2 <= time.monotonic() - began < 5


def test_a_ticket_that_is_gone_is_not_waited_for(store, waiters):
    ticket = new_ticket(store)
    end = begin(lambda: wait(waiters, ticket))
    del store.tickets[ticket.id]
    store.hints.send(str(ticket.id))
    assert end() == [SUBMITTED]


def test_when_all_places_are_taken_the_next_is_not_let_in_and_a_place_comes_back(store, waiters):
    ticket = new_ticket(store)
    end = begin(*[lambda: wait(waiters, ticket)] * 3)
    assert wait(waiters, ticket) is None
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [SUCCEEDED] * 3
    store.change(ticket.id, state=SUCCEEDED)
    assert wait(waiters, ticket) == SUCCEEDED


def test_all_who_wait_are_asked_for_in_one_query(store, polling):
    tickets = [new_ticket(store) for _ in range(3)]
    end = begin(*[lambda ticket=ticket: wait(polling, ticket) for ticket in tickets])
    assert store.asked[-1] == {ticket.id for ticket in tickets}
    for ticket in tickets:
        store.change(ticket.id, state=SUCCEEDED)
    end()
    asked = len(store.asked)
    time.sleep(0.2)
    assert len(store.asked) == asked, "nobody waits, and still the database is asked"


def test_waiting_outlives_an_outage_of_the_database(store, polling):
    ticket = new_ticket(store)
    end = begin(lambda: wait(polling, ticket))
    store.down = True
    time.sleep(0.2)
    store.down = False
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [SUCCEEDED]


def test_closing_lets_everybody_go(store, waiters):
    ticket = new_ticket(store)
    end = begin(*[lambda: wait(waiters, ticket)] * 3)
    waiters.close()
    assert end() == [None] * 3
    began = time.monotonic()
    assert wait(waiters, ticket) is None
    assert time.monotonic() - began < 5


def test_what_fails_later_does_not_end_the_waiting(store, waiters):
    def crash():
        raise ValueError("the patient's name")

    waiters.do_later(crash)
    ticket = new_ticket(store)
    end = begin(lambda: wait(waiters, ticket))
    store.change(ticket.id, state=SUCCEEDED)
    assert end() == [SUCCEEDED]


def test_fetched_results_are_written_down_together_and_not_lost_in_an_outage(store, waiters, monkeypatch):
    monkeypatch.setattr(waiters_module, "FETCHED_SECONDS", 0.05)
    store.down = True
    for ticket in (3, 4):
        waiters.do_later(lambda ticket=ticket: waiters.note_fetched(ticket))
    time.sleep(0.3)
    assert store.fetched == []
    assert 2 <= store.marks <= 7, "it is tried again, and not without a pause"
    store.down = False
    waiters.close()
    assert sorted(store.fetched) == [3, 4]


def test_a_reading_is_noted_by_the_look_that_finds_the_result(store, waiters):
    ticket, other = new_ticket(store), new_ticket(store)
    end = begin(
        *[
            lambda each=each: waiters.wait(each, UNENDED, 20, since=time.monotonic(), reads=True).noted
            for each in (ticket, other)
        ]
    )
    store.change(ticket.id, state=SUCCEEDED)
    store.change(other.id, state=SUCCEEDED, delete_requested=True)
    assert end() == [True, False]
    assert store.read == [ticket.id]
