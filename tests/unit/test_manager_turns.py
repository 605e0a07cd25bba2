"""Turns in a queue: who goes before whom, for random keys, and in simulated time."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulate_queues import Keys, list_scheduling, simulate
from tomaat.manager.choosing import assign
from tomaat.manager.turns import Turns
from tomaat.tickets.priorities import NIGHT, NORMAL, RANKS, URGENT, order_of, rank_of, turn_of, without_priority
from tomaat.tickets.queue import Part, Queue, Share, Waiting

KEYS = ("anna", "ben", "carla")
LATE = 10**6  #: a ticket's number, and so its arrival, behind all others


def waiting(ticket, key="", rank=RANKS[NORMAL], order=None, **more):
    return Waiting(
        ticket=ticket,
        order=ticket if order is None else order,
        service="A",
        interface_hash="A-1",
        expected_seconds=more.pop("seconds", 10.0),
        source=None,
        key=key,
        rank=rank,
        **more,
    )


def queue(*line, **more):
    return Queue(source="gpu", offers=frozenset({("A", "A-1")}), waiting=line, durations={}, performed=(5.0,), **more)


def queued(tickets, shares=None, **more):
    """Give tickets to one queue, in their order; return them as they wait there, the next one first."""
    places = {move.ticket: move.order for move in assign(tickets, [queue(**more)], shares)}
    return sorted((replace(each, order=places[each.ticket]) for each in tickets), key=lambda each: each.order)


TICKETS = st.lists(st.tuples(st.sampled_from(KEYS), st.floats(0.01, 100)), max_size=40).map(
    lambda drawn: [waiting(number, key, seconds=seconds) for number, (key, seconds) in enumerate(drawn)]
)
SHARES = st.dictionaries(
    st.sampled_from(KEYS),
    st.builds(
        lambda weight, used: Share(weight=weight, used_seconds={RANKS[NORMAL]: used}),
        st.floats(0.01, 100),
        st.floats(0, 1e5),
    ),
)


@settings(max_examples=100, deadline=None)
@given(TICKETS, SHARES, st.floats(0.01, 1000))
def test_one_ticket_beside_any_cohorts_has_at_most_one_of_each_other_key_before_it(cohorts, shares, seconds):
    line = queued(cohorts, shares)
    (move,) = assign([waiting(LATE, "dora", seconds=seconds)], [queue(*line)], shares)
    before = Counter(each.key for each in line if each.order < move.order)
    assert max(before.values(), default=0) <= 1


@settings(max_examples=100, deadline=None)
@given(TICKETS, SHARES)
def test_the_tickets_of_one_key_stay_in_their_order(tickets, shares):
    line = queued(tickets, shares)
    for key in KEYS:
        own = [each.ticket for each in line if each.key == key]
        assert own == sorted(own)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=3), st.floats(0.5, 60))
def test_keys_get_turns_by_their_weights(weights, seconds):
    shares = {key: Share(weight=weight) for key, weight in zip(KEYS, weights, strict=False)}
    each = 120
    cohorts = [waiting(place * each + n, key, seconds=seconds) for place, key in enumerate(shares) for n in range(each)]
    line = queued(cohorts, shares)
    first = Counter(ticket.key for ticket in line[:each])
    for key, share in shares.items():
        assert abs(first[key] - each * share.weight / sum(weights)) <= 2, (key, first)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(1, 4), st.floats(0.1, 30)), min_size=1, max_size=4))
def test_nothing_starves_beside_keys_that_send_a_new_ticket_whenever_one_begins(cohort, others):
    """``others`` always keep so many tickets waiting, of so many seconds; one lane takes the first one each time."""
    line = queued([waiting(number, "cohort", seconds=10.0) for number in range(cohort)])
    keys = {f"key-{place}": (many, seconds) for place, (many, seconds) in enumerate(others)}
    last, number, given = cohort - 1, cohort, {}
    most = sum(many + 2 + 10.0 * cohort / seconds for many, seconds in others) + cohort + 2
    for _ in range(int(most) + 1):
        for key, (many, seconds) in keys.items():
            while sum(each.key == key for each in line) < many:
                ticket = waiting(number, key, seconds=seconds)
                (move,) = assign([ticket], [queue(*line)], None, given)
                line = sorted([*line, replace(ticket, order=move.order)], key=lambda each: each.order)
                number += 1
        if line[0].ticket == last:
            break
        line.pop(0)
    else:
        pytest.fail(f"the last one of {cohort} waits after {most:.0f} others")


@pytest.mark.parametrize("senders", [2, 5])
def test_a_cohort_has_its_part_beside_keys_that_send_a_new_ticket_whenever_their_own_has_ended(senders):
    """A ticket runs, the next one is claimed, and the key of the ended one sends another: so no sender ever waits."""
    line = queued([waiting(number, "cohort") for number in range(100)])
    run, given, running = Counter(), {}, None
    for number in range(100, 160):
        ended, running = running, line.pop(0).key
        run[running] += 1
        sending = [f"key-{place}" for place in range(senders)] if ended is None else [ended]
        for place, key in enumerate(sending):
            if key != "cohort":
                ticket = waiting(10 * number + place, key)
                (move,) = assign([ticket], [queue(*line)], None, given)
                line = sorted([*line, replace(ticket, order=move.order)], key=lambda each: each.order)
    assert max(run.values()) - min(run.values()) <= 2, run


def test_two_single_tickets_of_two_keys_run_in_order_of_arrival():
    line, given = [], {}
    for number, key in enumerate(KEYS):
        (move,) = assign([waiting(number, key)], [queue(*line)], None, given)
        line = sorted([*line, waiting(number, key, order=move.order)], key=lambda each: each.order)
    assert [each.key for each in line] == [*KEYS]


def test_each_key_passes_the_last_ticket_of_a_cohort_once():
    (*_, last), given, passed = queued([waiting(number, "anna") for number in range(3)]), {}, []
    for number, key in enumerate(("ben", "carla") * 3, start=10):  # each ticket is claimed before the next one comes
        (move,) = assign([waiting(number, key)], [queue(last)], None, given)
        passed.append(move.order < last.order)
    assert passed == [True, True, False, False, False, False]


def test_turns_of_tickets_that_were_cancelled_do_not_count():
    line, given = queued([waiting(number, "anna") for number in range(50)]), {}
    assign([waiting(100 + number, "ben") for number in range(30)], [queue(*line)], None, given)
    (again,) = assign([waiting(LATE, "ben")], [queue(*line)], None, given)
    assert sum(each.order < again.order for each in line) == 2, "only the first one's turn has passed"


def test_urgent_goes_first_and_night_last_whoever_sends_them():
    sent = [(1, NIGHT, "anna"), (2, NORMAL, "anna"), (3, NORMAL, "ben"), (4, URGENT, "anna"), (5, NIGHT, "ben")]
    line = queued([waiting(ticket, key, RANKS[priority]) for ticket, priority, key in sent])
    assert [each.ticket for each in line] == [4, 2, 3, 1, 5]
    assert [rank_of(each.order) for each in line] == [1, 2, 2, 3, 3]


def test_a_key_that_used_less_lately_has_two_turns_for_one_until_it_has_used_as_much():
    shares = {"anna": Share(used_seconds={RANKS[NORMAL]: 100.0})}
    cohorts = [waiting(number, "anna" if number < 30 else "ben") for number in range(60)]
    line = "".join(each.key[0] for each in queued(cohorts, shares))
    assert line.startswith("abbabbabbabb"), "ten seconds each"
    assert line[32:44] in {"ab" * 6, "ba" * 6}, "then they alternate"
    other = {"anna": Share(used_seconds={RANKS[NIGHT]: 100.0})}
    assert "".join(each.key[0] for each in queued(cohorts, other)).startswith("ababab"), "each priority by itself"


def test_what_came_back_goes_before_all_of_its_priority_and_what_an_operator_moved_before_all():
    line = queued([waiting(number, "anna") for number in range(1, 4)])
    sent = [waiting(0, "anna", came_back=True), waiting(11, "anna", RANKS[NIGHT], order=-5)]
    places = {move.ticket: move.order for move in assign(sent, [queue(*line)])}
    assert places[11] == -5
    assert places[11] < places[0] < line[0].order


def test_a_queue_of_which_only_parts_are_known_gives_the_same_turns():
    line = queued([waiting(number, KEYS[number % 2]) for number in range(20)])
    orders = {key: [each.order for each in line if each.key == key] for key in KEYS[:2]}
    parts = tuple(
        Part(service="A", key=key, first=min(own), last=max(own), seconds=100.0) for key, own in orders.items()
    )
    whole, known = queue(*line), replace(queue(), parts=parts, queued_seconds=200.0)
    for key in KEYS:
        ticket = waiting(LATE, key)
        assert Turns(whole, {}, {}).give(ticket, 10.0) == Turns(known, {}, {}).give(ticket, 10.0)


def test_the_shortest_queue_is_the_one_with_fewest_tickets_before_the_new_one():
    """A cohort is no reason for a key without one to avoid a queue, nor night for a normal ticket."""
    night = [replace(each, rank=3, order=order_of(3, 0, each.ticket)) for each in (waiting(1), waiting(2))]
    cohort = queued([waiting(number, "anna", seconds=1.0) for number in range(5)])
    made = [
        replace(queue(*night), source="night"),
        replace(queue(*cohort), source="cohort", performed=(4.0,)),
        replace(queue(), source="later", performed=(6.0,)),
    ]
    assert [move.to_source for move in assign([waiting(LATE, "ben")], made)] == ["cohort"]
    assert [move.to_source for move in assign([waiting(LATE, "anna")], made)] == ["night"], "its own are before it"
    assert [move.to_source for move in assign([waiting(LATE, "", RANKS[NIGHT])], made)] == ["later"], "night's as well"


def test_places_keep_their_parts_and_a_request_that_names_no_priority_is_normal_where_that_is_allowed():
    assert turn_of(order_of(2, -(2**50), 1)) == -(2**42), "as far as it goes"
    assert order_of(3, 2**50, 1) < 2**63
    assert without_priority((URGENT, NIGHT)) == NIGHT


def test_a_simulated_single_ticket_among_a_thousand_waits_at_most_one_tickets_time():
    generator = random.Random(1)
    durations = [generator.choice([5.0, 10.0]) for _ in range(1000)] + [10.0]
    arrivals = [0.0] * 1000 + [777.0]
    keys = Keys(names=["cohort"] * 1000 + ["single"])
    ended = simulate(arrivals, durations, machines=1, known=True, keys=keys)
    assert ended.waits[1000] <= max(durations)
    assert ended.makespan == sum(durations), "the machine never rests"


@pytest.mark.parametrize(("machines", "lanes"), [(3, 1), (2, 2)])
def test_turns_cost_all_together_nothing(machines, lanes):
    for seed in range(3):
        generator = random.Random(seed)
        durations = [generator.choice([1.0, 2.0, 4.0]) for _ in range(120)]
        arrivals = sorted(generator.uniform(0, 60) for _ in durations)
        keys = Keys(
            names=[generator.choice(KEYS) for _ in durations], ranks=[generator.randint(1, 3) for _ in durations]
        )
        ended = simulate(arrivals, durations, machines=machines, known=True, lanes=lanes, keys=keys).makespan
        assert ended <= 1.05 * list_scheduling(arrivals, durations, machines * lanes).makespan
