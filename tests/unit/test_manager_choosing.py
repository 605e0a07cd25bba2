"""The choosing of queues, on random queues and in simulated time."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulate_queues import Loading, list_scheduling, simulate
from tomaat.devices.need import Need
from tomaat.manager.choosing import MOST_TAKEN, Expectations, assign, rebalance
from tomaat.tickets.priorities import order_of
from tomaat.tickets.queue import Queue, Waiting

SERVICES = ("A", "B", "C")


def waiting(ticket, service="A", seconds=None, source=None):
    return Waiting(
        ticket=ticket,
        order=ticket,
        service=service,
        interface_hash=f"{service}-1",
        expected_seconds=seconds,
        source=source,
    )


def queue(name, *line, running=None, services=SERVICES, durations=None, **more):
    return Queue(
        source=name,
        offers=frozenset((service, f"{service}-1") for service in services),
        waiting=tuple(line),
        performed=() if running is None else (running,),
        durations=durations or {},
        **more,
    )


def need(network, load_seconds, peak=None):
    return Need(network_bytes=network, peak_bytes=peak, load_seconds=load_seconds)


NEEDS = st.builds(need, st.integers(0, 10), st.floats(0, 50), st.none() | st.integers(0, 10))


@st.composite
def queues(draw, *, loading=False):
    """Up to five queues with what they offer, run and hold; tickets are numbered in the order of submission.

    With ``loading`` their networks take time and memory.
    """
    numbers = iter(draw(st.permutations(range(60))))
    made = []
    for index in range(draw(st.integers(1, 5))):
        services = draw(st.sets(st.sampled_from(SERVICES), min_size=1))
        line = [
            waiting(next(numbers), draw(st.sampled_from(sorted(services))), draw(SECONDS), f"s{index}")
            for _ in range(draw(st.integers(0, 6)))
        ]
        running = draw(st.none() | st.floats(0, 100))
        durations = draw(st.dictionaries(st.sampled_from(SERVICES), st.floats(0.01, 100)))
        line.sort(key=lambda each: each.order)
        measured = {
            "needs": draw(st.dictionaries(st.sampled_from(SERVICES), NEEDS)) if loading else {},
            "memory_bytes": draw(st.none() | st.integers(1, 10)) if loading else None,
            "recent": draw(st.permutations(SERVICES))[: draw(st.integers(0, 3))],
        }
        made.append(queue(f"s{index}", *line, running=running, services=services, durations=durations, **measured))
    return made


SECONDS = st.none() | st.floats(0, 100)
SUBMITTED = st.lists(st.tuples(st.sampled_from(SERVICES), SECONDS), max_size=20).map(
    lambda given: [waiting(100 + number, service, seconds) for number, (service, seconds) in enumerate(given)]
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(SUBMITTED, queues() | queues(loading=True))
def test_each_ticket_goes_once_to_the_queue_that_can_run_it_and_where_it_begins_first(submitted, made):
    moves = assign(submitted, made)
    by_name = {each.source: each for each in made}
    tickets = {each.ticket: each for each in submitted}
    assert len({move.ticket for move in moves}) == len(moves)
    expectations = Expectations(made)
    loads = {each.source: expectations.free(each)[0] for each in made}
    recent = {each.source: list(each.recent) for each in made}

    def loading(service, name):
        return expectations.loading(service, by_name[name], by_name[name].warm(recent[name]))

    for move in moves:
        ticket = tickets.pop(move.ticket)
        able = [each.source for each in made if each.runs(ticket)]
        assert move.to_source in able
        assert move.from_source is None
        begins = {name: loads[name] + loading(ticket.service, name) for name in able}
        assert begins[move.to_source] == min(begins.values())
        assert move.loading_seconds == loading(ticket.service, move.to_source)
        loads[move.to_source] += move.loading_seconds + expectations.seconds(ticket, by_name[move.to_source])
        recent[move.to_source] = [each for each in recent[move.to_source] if each != ticket.service] + [ticket.service]
    assert not any(each.runs(ticket) for ticket in tickets.values() for each in made)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(queues() | queues(loading=True))
def test_only_idle_sources_take_tickets_that_they_can_run_and_none_is_doubled(made):
    by_name = {each.source: each for each in made}
    moves = rebalance(made)
    assert len({move.ticket for move in moves}) == len(moves)
    for move in moves:
        target, left = by_name[move.to_source], by_name[move.from_source]
        assert target.idle
        ticket = next(each for each in left.waiting if each.ticket == move.ticket)
        assert target.runs(ticket)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(queues())
def test_no_source_stays_idle_while_it_could_run_what_waits_behind_another(made):
    moves = rebalance(made)
    gone = {move.ticket for move in moves}
    receivers = {move.to_source for move in moves}
    for idle in made:
        if idle.idle and idle.source not in receivers:
            left = [each for other in made for each in other.waiting if each.ticket not in gone]
            busy = [each for each in left if idle.runs(each)]
            assert not busy


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(queues(loading=True))
def test_a_source_stays_idle_only_where_loading_takes_longer_than_waiting(made):
    expectations = Expectations(made)
    moves = rebalance(made)
    gone = {move.ticket for move in moves}
    receivers = {move.to_source for move in moves}
    for idle in made:
        if not idle.idle or idle.source in receivers:
            continue
        for other in made:
            begins = other.free[0]
            for ticket in other.waiting:
                if ticket.ticket not in gone and idle.runs(ticket):
                    loading = expectations.loading(ticket.service, idle, idle.warm(idle.recent))
                    assert loading > 0
                    assert loading >= begins
                if ticket.ticket not in gone:
                    begins += expectations.seconds(ticket, other)


def test_the_most_recently_used_networks_are_warm_as_many_as_fit():
    needs = {"A": need(3, 1.0), "B": need(4, 1.0, peak=6), "C": need(3, 1.0)}
    made = queue("a", needs=needs, memory_bytes=10)
    assert made.warm("ABC") == {"B", "C"}, "A does not fit beside a ticket of B"
    assert made.warm("BCA") == {"C", "A"}
    assert made.warm("AC") == {"A", "C"}
    assert queue("a", needs={"A": need(30, 1.0)}, memory_bytes=10).warm("A") == {"A"}, "it ran, so it is there"
    assert queue("a", needs=needs).warm("ABC") == {"A", "B", "C"}
    assert queue("a", memory_bytes=10).warm("ABC") == {"A", "B", "C"}, "nothing is known yet"


def test_loading_counts_and_a_queue_of_the_same_service_is_preferred_while_it_is_not_longer():
    needs = {"A": need(8, 20.0), "B": need(8, 20.0)}
    made = [
        queue("a", needs=needs, memory_bytes=10, recent=("B",), durations={"A": 5.0, "B": 5.0}),
        queue("b", needs=needs, memory_bytes=10, recent=("A",), durations={"A": 5.0, "B": 5.0}),
    ]
    moves = assign([waiting(number, "A") for number in range(7)], made)
    assert [move.to_source for move in moves] == ["b", "b", "b", "b", "a", "b", "a"]
    assert [move.loading_seconds for move in moves] == [0, 0, 0, 0, 20.0, 0, 0]


def test_a_loading_is_expected_as_measured_there_else_elsewhere_else_not_at_all():
    a, b, c = queue("a", needs={"A": need(1, 3.0)}), queue("b", needs={"A": need(1, 5.0)}), queue("c")
    expectations = Expectations([a, b, c])
    assert [expectations.loading("A", each, ()) for each in (a, b, c)] == [3.0, 5.0, 4.0]
    assert expectations.loading("B", a, ()) == 0.0
    assert expectations.loading("A", a, ("A",)) == 0.0


def test_an_idle_source_takes_what_it_has_warm_before_what_it_would_have_to_load():
    needs = {"A": need(8, 20.0), "B": need(8, 20.0)}
    idle = queue("idle", needs=needs, memory_bytes=10, recent=("B",))
    line = [waiting(number, service, seconds=5.0) for number, service in enumerate("AABAB")]
    moves = rebalance([queue("busy", *line, running=3), idle])
    assert [(move.ticket, move.loading_seconds) for move in moves] == [(2, 0.0)], "A would begin sooner where it waits"
    moves = rebalance([queue("busy", *line, running=25), idle])
    assert [(move.ticket, move.loading_seconds) for move in moves] == [(0, 20.0), (3, 0.0)]


def test_a_ticket_that_outgrew_a_source_is_run_by_a_larger_one_only():
    outgrown = replace(waiting(1), outgrown_bytes=10)
    sizes = {"small": 10, "large": 20, "shared": None}
    made = [queue(name, memory_bytes=size) for name, size in sizes.items()]
    assert [each.source for each in made if each.runs(outgrown)] == ["large"]
    assert [each.source for each in made if each.runs(waiting(1))] == list(sizes)


def test_the_oldest_ticket_moves_first():
    made = [queue("busy", waiting(5), waiting(6), running=10), queue("older", waiting(2), running=10), queue("idle")]
    assert [(move.ticket, move.from_source) for move in rebalance(made)] == [(2, "older")]


def test_turns_of_two_queues_do_not_tell_which_ticket_moves_first():
    """An old queue's turns are far on; by priority and age its ticket goes first all the same."""
    older = replace(waiting(2), order=order_of(2, 10**9, 2))
    newer = replace(waiting(5), order=order_of(2, 0, 5))
    night = replace(waiting(1), order=order_of(3, 0, 1))
    lines = {"busy": newer, "night": night, "older": older}
    made = [*(queue(name, first, running=10) for name, first in lines.items()), queue("idle")]
    assert [(move.ticket, move.from_source) for move in rebalance(made)] == [(2, "older")]


def test_a_source_that_comes_to_a_long_backlog_takes_a_share_and_no_more():
    line = [waiting(number, seconds=1.0) for number in range(10_000)]
    moves = rebalance([queue("busy", *line, running=1), queue("idle")])
    assert [move.ticket for move in moves[:3]] == [0, 2, 4]
    assert len(moves) == MOST_TAKEN


def test_tickets_are_counted_until_there_is_history():
    moves = assign([waiting(n) for n in range(6)], [queue("a"), queue("b"), queue("c")])
    assert [move.to_source for move in moves] == ["a", "b", "c"] * 2


def test_what_a_task_says_counts_more_than_what_was_measured():
    expectations = Expectations([queue("a", durations={"A": 5.0}), queue("b", durations={"A": 7.0})])
    a, b, c = queue("a", durations={"A": 5.0}), queue("b", durations={"A": 7.0}), queue("c")
    assert [expectations.seconds(waiting(1), each) for each in (a, b, c)] == [5.0, 7.0, 6.0]
    assert expectations.seconds(waiting(1, seconds=2.0), a) == 2.0
    assert expectations.seconds(waiting(1, "B"), a) == 6.0


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_simulated_tickets_end_within_a_tenth_of_list_scheduling(known):
    """Durations at most a hundredth of the whole, as 200 mixed tickets on 4 sources are, also as lanes of 2."""
    for seed in range(40):
        generator = random.Random(seed)
        durations = [generator.choice([0.1, 0.2, 0.4, 1.0, 2.0]) for _ in range(200)]
        arrivals = sorted(generator.uniform(0, 5) for _ in durations)
        for machines, lanes in ((4, 1), (2, 2)):
            ended = simulate(arrivals, durations, machines=machines, known=known, lanes=lanes).makespan
            assert ended <= 1.1 * list_scheduling(arrivals, durations, 4).makespan, (seed, lanes)


@pytest.mark.parametrize(("services", "fit"), [("AB", 1), ("ABC", 1), ("ABC", 2)])
def test_simulated_networks_that_take_turns_are_loaded_less_often_where_loading_counts(services, fit):
    """Two sources; 20 s of loading against tickets of 5 s."""
    for seed in range(5):
        generator = random.Random(seed)
        arrivals = sorted(generator.uniform(0, 600) for _ in range(200))
        asked = [generator.choice(services) for _ in arrivals]
        counted, not_counted = (
            simulate(
                arrivals,
                [5.0] * len(arrivals),
                machines=2,
                known=True,
                loading=Loading(services=asked, seconds=20.0, fit=fit, counted=counted),
            )
            for counted in (True, False)
        )
        assert counted.loadings < 0.8 * not_counted.loadings
        assert counted.makespan < 0.9 * not_counted.makespan
        assert counted.mean_wait < 0.9 * not_counted.mean_wait


def test_list_scheduling_starts_each_on_the_machine_that_is_free_first():
    assert list_scheduling([0, 0, 0], [2.0, 1.0, 1.0], 2).makespan == 2.0


def test_the_worked_example_of_the_documents_comes_out_as_written():
    text = (Path(__file__).resolve().parents[2] / "docs/queues.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102 (our own document)
    for name, value in re.findall(r"^`(\w+)` = `([^`]+)`", text, re.MULTILINE):
        assert scope[name] == eval(value), name  # noqa: S307 (our own document)


def test_a_ticket_that_begins_now_where_it_is_is_not_taken():
    made = [queue("given", *(waiting(number) for number in (1, 2))), queue("idle")]
    assert [move.ticket for move in rebalance(made)] == [1]
    assert [move.ticket for move in rebalance(made, begins_now=[1])] == [2]
    assert rebalance(made, begins_now=[1, 2]) == []
