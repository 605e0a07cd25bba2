"""What lanes of one source tell each other: who claims, and what fits beside what."""

import sys
import threading
from functools import partial
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomaat.devices.need import Need
from tomaat.messages import WorkerReady
from tomaat.scheduling.beside import MOST_BESIDE, MOST_LANES, NOTHING_CHANGED, LaneNow, LanesOfSource, admits
from tomaat.scheduling.offering import Offering
from tomaat.tickets.reload_store import ReloadOutcome

SECONDS = 60.0  #: after which a lane that waits for ever fails its test
GIB = 2**30


def need(network, peak):
    return Need(network_bytes=network, peak_bytes=peak, load_seconds=1.0)


NEEDS = st.dictionaries(
    st.sampled_from("ABC"),
    st.builds(
        Need, network_bytes=st.integers(0, 10), peak_bytes=st.none() | st.integers(0, 30), load_seconds=st.just(1.0)
    ),
    min_size=1,
)


@given(
    NEEDS, st.lists(st.tuples(st.integers(0, MOST_LANES - 1), st.sampled_from("ABC")), max_size=30), st.integers(0, 60)
)
def test_what_performs_together_was_measured_and_fits_together(needs, steps, total):
    """A step begins a ticket in a lane where it is admitted, or ends the one that the lane has."""
    lanes = [LaneNow() for _ in range(MOST_LANES)]
    for number, service in steps:
        others = lanes[:number] + lanes[number + 1 :]
        if lanes[number].performs is not None:
            lanes[number] = LaneNow()
        elif admits(needs.get(service), others, needs, total):
            holds = needs[service].most_bytes if service in needs else 0
            lanes[number] = LaneNow(performs=service, holds_bytes=holds)
        performing = [lane.performs for lane in lanes if lane.performs is not None]
        if len(performing) > 1:
            assert all(needs[each].peak_bytes is not None for each in performing)
            assert sum(needs[each].most_bytes for each in performing) <= total


def test_a_ticket_that_must_be_alone_gets_no_neighbour():
    needs = {"A": need(1, 2)}
    assert admits(needs["A"], [LaneNow(performs="A", holds_bytes=2)], needs, 100)
    assert not admits(needs["A"], [LaneNow(performs="A", holds_bytes=2, alone=True)], needs, 100)


def test_what_a_ticket_is_foretold_to_take_counts_before_it_was_measured():
    needs = {"A": need(1, 4), "New": need(1, None)}
    assert not admits(needs["A"], [LaneNow(performs="New", holds_bytes=1)], needs, 10)
    assert admits(needs["A"], [LaneNow(performs="New", holds_bytes=1, expects_bytes=6)], needs, 10)
    assert not admits(needs["A"], [LaneNow(performs="New", holds_bytes=1, expects_bytes=7)], needs, 10)
    assert not admits(needs["A"], [LaneNow(performs="A", holds_bytes=4, expects_bytes=7)], needs, 10)
    assert not admits(needs["New"], [LaneNow(performs="New", expects_bytes=1)], needs, 10)


def test_of_two_lanes_that_want_to_claim_at_once_the_lower_one_is_next_and_wakes_the_other():
    lanes, woken = LanesOfSource(None, on_gpu=False), []
    one, two = (lanes.join(partial(woken.append, number)) for number in (1, 2))
    assert two.take_turn()
    assert not one.take_turn(), "the other one claims"
    two.end_turn()
    assert woken == [1]
    assert not two.take_turn(), "it is the other one's turn"
    assert woken == [1, 1]
    assert one.take_turn()
    assert not two.take_turn()
    woken.clear()
    one.end_turn()
    assert woken == [2]
    assert two.take_turn()
    two.end_turn()
    assert woken == [2], "the other one does not wait"


def test_a_turn_that_ends_just_after_another_lane_has_looked_wakes_that_one(monkeypatch):
    lanes, woken = LanesOfSource(None, on_gpu=False), []
    one, two = (lanes.join(partial(woken.append, number)) for number in (1, 2))
    look = two._numbered

    def look_too_early():
        seen = look()
        one.end_turn()
        return seen

    assert one.take_turn()
    monkeypatch.setattr(two, "_numbered", look_too_early)
    assert not two.take_turn()
    assert 2 in woken


def test_of_several_lanes_one_claims_at_a_time_and_none_waits_for_ever():
    lanes = LanesOfSource(None, on_gpu=False)
    events = [threading.Event() for _ in range(MOST_LANES)]
    beside = [lanes.join(event.set) for event in events]
    inside, together = [], []

    def claim_often(number):
        for _ in range(300):
            while not beside[number].take_turn():
                assert events[number].wait(SECONDS)
                events[number].clear()
            inside.append(number)
            together.append(len(inside))
            inside.remove(number)
            beside[number].end_turn()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=claim_often, args=(number,), daemon=True) for number in range(MOST_LANES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)
    assert set(together) == {1}


def told(needs, *, complete=True):
    """Let the first lane of a GPU of 10 GiB tell what its worker needs."""
    lanes = LanesOfSource(10 * GIB, on_gpu=True)
    lanes.join(lambda: None).tell(offers=dict.fromkeys(needs), needs=needs, complete=complete)
    return lanes


@pytest.mark.parametrize(
    ("needs", "most", "lanes"),
    [
        ({"A": need(GIB, 2 * GIB)}, 16, 3),
        ({"A": need(GIB, 2 * GIB)}, 2, 2),
        ({"A": need(0, GIB // 8)}, 16, MOST_LANES),
        ({"A": need(GIB, 2 * GIB), "B": need(GIB, None)}, 16, 2),
        ({"A": need(GIB, None)}, 16, 1),
        ({"A": need(GIB, 20 * GIB)}, 16, 1),
        ({}, 16, 1),
    ],
)
def test_as_many_lanes_fit_as_have_room_for_all_networks_and_their_largest_ticket(needs, most, lanes):
    assert told(needs).fitting(most=most) == lanes


def test_no_lane_is_added_while_one_still_loads():
    assert told({"A": need(GIB, 2 * GIB)}, complete=False).fitting(most=16) == 1


def test_memory_that_other_programs_use_is_none_of_the_lanes():
    lanes = LanesOfSource(10 * GIB, on_gpu=True)
    lanes.join(lambda: None).tell(holds_bytes=2 * GIB)
    assert lanes.total_bytes == 9 * GIB
    lanes.note_used(3 * GIB)
    assert lanes.total_bytes == 9 * GIB, "it is the worker's, and its context's"
    lanes.note_used(7 * GIB)
    assert lanes.total_bytes == 5 * GIB


def test_a_ticket_is_crowded_only_so_often():
    beside = LanesOfSource(None, on_gpu=False).join(lambda: None)
    assert [beside.note_crowded(7) for _ in range(MOST_BESIDE + 1)] == [True] * MOST_BESIDE + [False]
    assert beside.crowded == set()


@pytest.mark.parametrize(
    ("outcomes", "joined"),
    [
        ([(False, "offered are A"), (False, "offered are A")], (False, "offered are A")),
        ([(False, NOTHING_CHANGED), (False, NOTHING_CHANGED)], (False, NOTHING_CHANGED)),
        ([(False, NOTHING_CHANGED), (False, "offered are B")], (False, "offered are B")),
        ([(False, "offered are A"), (False, "offered are B")], (False, "offered are A; offered are B")),
        ([(False, "offered are A"), (True, "B failed"), (True, "B failed")], (True, "B failed")),
    ],
)
def test_how_a_reload_went_is_told_once_all_lanes_are_through_with_what_each_has_to_say(outcomes, joined):
    told = LanesOfSource(None, on_gpu=False)
    lanes = [told.join(lambda: None) for _ in outcomes]
    *first, last = [
        lane.outcome(7, ReloadOutcome(failed=failed, says=says))
        for lane, (failed, says) in zip(lanes, outcomes, strict=True)
    ]
    assert first == [None] * (len(outcomes) - 1)
    assert (last.failed, last.says) == joined


def test_a_lane_without_a_worker_that_could_begin_keeps_no_reload_waiting():
    told = LanesOfSource(None, on_gpu=False)
    one, other = (told.join(lambda: None) for _ in range(2))
    done = ReloadOutcome(failed=False, says="offered are A")
    assert one.outcome(7, done) is None
    other.tell(broken="/x/python: it cannot start")
    assert one.outcome(7, done) == ReloadOutcome(failed=True, says="/x/python: it cannot start")
    other.tell(broken=None)
    assert one.outcome(7, done) is None


def test_what_a_lane_offers_that_cannot_start_now_is_not_withdrawn():
    told = LanesOfSource(None, on_gpu=False)
    one, other = (told.join(lambda: None) for _ in range(2))
    sources = Mock()
    offering = Offering(sources, Mock(), Mock(), load_seconds=1.0, beside=one)
    other.tell(broken="/x/python: it cannot start")
    offering.note(WorkerReady())
    sources.withdraw_others.assert_not_called()
    other.tell(broken=None, complete=True)
    offering.tell()
    sources.withdraw_others.assert_called_once()
