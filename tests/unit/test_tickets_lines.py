import dataclasses

import pytest

from tests.unit.fake_store import LINE, FakeStore
from tomaat.tickets.lines import MOST_NAMED, NO_MANAGER, NOT_OFFERED, Lines, Outlook
from tomaat.tickets.states import QUEUED, RUNNING, SUBMITTED, SUCCEEDED
from tomaat.tickets.ticket_store import NewTicket


def ticket_in(state, *, service="FloatComputation", **changes):
    store = FakeStore()
    made = store.submit(NewTicket(token_hash=b"", service=service, interface_hash=f"{service}-1", folder="f"))
    return dataclasses.replace(
        made, **{"state": state, "source": None if state == SUBMITTED else LINE.source, **changes}
    )


def lines(*some, manager_held=True):
    return Lines(manager_held=manager_held, lines={line.source: line for line in some})


STALLS = {
    "is away": {"held": False},
    "cannot be used now": {"usable": False},
    "is drained": {"drained": True},
    "has not loaded it yet": {"offers": {"FloatComputation-1": False}},
}


@pytest.mark.parametrize("why", STALLS)
def test_a_line_that_starts_nothing_says_why_and_promises_no_time(why):
    outlook = lines(dataclasses.replace(LINE, **STALLS[why])).outlook(ticket_in(QUEUED))
    assert outlook == Outlook(position=3, eta_seconds=None, why_waiting=f"here/gpu-0 {why}.")


@pytest.mark.parametrize("why", STALLS)
def test_a_ticket_without_a_queue_is_told_why_each_source_takes_none(why):
    held_up = dataclasses.replace(LINE, **STALLS[why])
    other = dataclasses.replace(LINE, source="here/gpu-2", offers={"Else-1": True})
    said = lines(held_up, other).outlook(ticket_in(SUBMITTED))
    assert said == Outlook(why_waiting=f"No compute source takes it now: here/gpu-0 {why}.")
    assert lines(held_up, LINE).outlook(ticket_in(SUBMITTED)) == Outlook(), "another one takes it"


def test_a_ticket_that_is_about_to_get_a_queue_waits_for_the_manager_only():
    assert lines(LINE).outlook(ticket_in(SUBMITTED)) == Outlook()
    assert lines(LINE, manager_held=False).outlook(ticket_in(SUBMITTED)) == Outlook(why_waiting=NO_MANAGER)
    assert lines().outlook(ticket_in(SUBMITTED)) == Outlook(why_waiting=NOT_OFFERED)


def test_a_ticket_that_outgrew_a_source_waits_for_a_larger_one():
    small = dataclasses.replace(LINE, memory_bytes=10)
    large = dataclasses.replace(LINE, source="here/gpu-1", memory_bytes=20, drained=True)
    outlook = lines(small, large).outlook(ticket_in(SUBMITTED, outgrown_bytes=10))
    assert outlook.why_waiting == "No compute source takes it now: here/gpu-1 is drained."


def test_a_reason_names_few_sources():
    away = [dataclasses.replace(LINE, source=f"here/gpu-{n}", held=False) for n in range(MOST_NAMED + 4)]
    said = lines(*away).why_unavailable("FloatComputation-1")
    assert said.count("is away") == MOST_NAMED
    assert said.endswith("and 4 more.")


def test_a_ticket_that_joined_after_the_reading_gets_the_next_place():
    assert lines(LINE).outlook(ticket_in(QUEUED, queue_order=9)) == Outlook(position=4, eta_seconds=13.3456)
    known = dataclasses.replace(LINE, means={"FloatComputation": 5.0}, orders=[], begins=[4.0], ends=[])
    assert lines(known).outlook(ticket_in(QUEUED, queue_order=9)) == Outlook(position=1, eta_seconds=9.0)
    own = ticket_in(QUEUED, queue_order=9, expected_seconds=7.0)
    assert lines(known).outlook(own) == Outlook(position=1, eta_seconds=11.0)


def test_a_running_ticket_ends_also_on_a_drained_source_and_on_one_that_is_away_nobody_knows():
    running = ticket_in(RUNNING, id=1)
    assert lines(dataclasses.replace(LINE, drained=True)).outlook(running) == Outlook(eta_seconds=4.0)
    assert lines(LINE).outlook(dataclasses.replace(running, id=2)) == Outlook(eta_seconds=1.0), "just claimed"
    away = lines(dataclasses.replace(LINE, held=False)).outlook(running)
    assert away == Outlook(why_waiting="here/gpu-0 is away.")


def test_an_ended_ticket_has_no_outlook():
    assert lines(LINE).outlook(ticket_in(SUCCEEDED)) == Outlook()
