"""The choosing of queues, on random queues and in simulated time."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.simulate_queues import list_scheduling, simulate
from tomaat.tickets.choosing import MOST_TAKEN, Expectations, Queue, Waiting, assign, rebalance

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


def queue(name, *line, running=None, services=SERVICES, durations=None):
    return Queue(
        source=name,
        offers=frozenset((service, f"{service}-1") for service in services),
        waiting=tuple(line),
        running_left_seconds=running,
        durations=durations or {},
    )


@st.composite
def queues(draw):
    """Up to five queues with what they offer, run and hold; tickets are numbered in the order of submission."""
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
        made.append(queue(f"s{index}", *line, running=running, services=services, durations=durations))
    return made


SECONDS = st.none() | st.floats(0, 100)
SUBMITTED = st.lists(st.tuples(st.sampled_from(SERVICES), SECONDS), max_size=20).map(
    lambda given: [waiting(100 + number, service, seconds) for number, (service, seconds) in enumerate(given)]
)


@settings(max_examples=300, deadline=None)
@given(SUBMITTED, queues())
def test_each_ticket_goes_once_to_the_shortest_queue_that_can_run_it(submitted, made):
    moves = assign(submitted, made)
    by_name = {each.source: each for each in made}
    tickets = {each.ticket: each for each in submitted}
    assert len({move.ticket for move in moves}) == len(moves)
    expectations = Expectations(made)
    loads = {each.source: expectations.load(each) for each in made}
    for move in moves:
        ticket = tickets.pop(move.ticket)
        able = [each.source for each in made if each.runs(ticket)]
        assert move.to_source in able
        assert move.from_source is None
        assert loads[move.to_source] == min(loads[name] for name in able)
        loads[move.to_source] += expectations.seconds(ticket, by_name[move.to_source])
    assert not any(each.runs(ticket) for ticket in tickets.values() for each in made)


@settings(max_examples=300, deadline=None)
@given(queues())
def test_only_idle_sources_take_tickets_that_they_can_run_and_none_is_doubled(made):
    by_name = {each.source: each for each in made}
    moves = rebalance(made)
    assert len({move.ticket for move in moves}) == len(moves)
    for move in moves:
        target, left = by_name[move.to_source], by_name[move.from_source]
        assert target.running_left_seconds is None
        assert not target.waiting
        ticket = next(each for each in left.waiting if each.ticket == move.ticket)
        assert target.runs(ticket)


@settings(max_examples=300, deadline=None)
@given(queues())
def test_no_source_stays_idle_while_it_could_run_what_waits_behind_another(made):
    moves = rebalance(made)
    gone = {move.ticket for move in moves}
    receivers = {move.to_source for move in moves}
    for idle in made:
        if idle.running_left_seconds is None and not idle.waiting and idle.source not in receivers:
            left = [each for other in made for each in other.waiting if each.ticket not in gone]
            busy = [each for each in left if idle.runs(each)]
            assert not busy


def test_the_oldest_ticket_moves_first():
    made = [queue("busy", waiting(5), waiting(6), running=10), queue("older", waiting(2), running=10), queue("idle")]
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


@pytest.mark.parametrize("known", [True, False])
def test_simulated_tickets_end_within_a_tenth_of_list_scheduling(known):
    """Durations at most a hundredth of the whole, as 200 mixed tickets on 4 sources are."""
    for seed in range(40):
        generator = random.Random(seed)
        durations = [generator.choice([0.1, 0.2, 0.4, 1.0, 2.0]) for _ in range(200)]
        arrivals = sorted(generator.uniform(0, 5) for _ in durations)
        ended = simulate(arrivals, durations, machines=4, known=known).makespan
        assert ended <= 1.1 * list_scheduling(arrivals, durations, 4).makespan, seed


def test_list_scheduling_starts_each_on_the_machine_that_is_free_first():
    assert list_scheduling([0, 0, 0], [2.0, 1.0, 1.0], 2).makespan == 2.0


def test_the_worked_example_of_the_documents_comes_out_as_written():
    text = (Path(__file__).resolve().parents[2] / "docs/queues.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102 (our own document)
    for name, value in re.findall(r"^`(\w+)` = `([^`]+)`", text, re.MULTILINE):
        assert scope[name] == eval(value), name  # noqa: S307 (our own document)
