"""Priorities and turns of keys, from the tickets' rows to the claims, on a real PostgreSQL."""

import pytest

from tomaat.access.key_store import KeyStore
from tomaat.manager.choosing import assign
from tomaat.tickets.manager_store import ANY_TIME, FRONT, NO_TIME
from tomaat.tickets.operator_store import OperatorStore
from tomaat.tickets.priorities import NIGHT, NORMAL, RANKS, URGENT, rank_of
from tomaat.tickets.queue import Share
from tomaat.tickets.share_store import HALF_LIFE_SECONDS, ShareStore
from tomaat.tickets.ticket_store import AgainRules

SOURCE = "here/cpu-0"
RULES = AgainRules(retention_seconds=3600, keep_input=False)


@pytest.fixture
def lane(bench):
    """A source whose queue nobody joins but by the manager."""
    made = bench.source()
    bench.running = bench.claimed(made)
    return made


def send(bench, key=None, priority=NORMAL):
    return bench.web.submit(bench.new_ticket(key_name=key, priority=priority))


def place(bench, shares=None):
    """Give what waits for a queue to one, as the manager does."""
    reading = bench.manager.read()
    live = [queue for queue in reading.queues if queue.live]
    return bench.manager.assign(assign(reading.submitted, live, shares))


def line(bench):
    rows = bench.run("SELECT id FROM tickets WHERE state = 'queued' ORDER BY queue_order")
    return [row.id for row in rows]


def test_a_single_ticket_is_claimed_before_the_cohort_of_another_key_that_came_first(bench, lane):
    cohort = [send(bench, "anna").id for _ in range(5)]
    place(bench)
    single = send(bench, "ben")
    assert bench.read(single).state == "submitted"
    place(bench)
    assert line(bench) == [cohort[0], single.id, *cohort[1:]], "the first one of the cohort came first"
    outlook = bench.outlook(single)
    assert (outlook.position, bench.outlook(bench.web.find(cohort[1])).position) == (2, 3)
    for ticket in (cohort[0], single.id):
        lane.succeed(bench.running, sha256="0" * 64, size_bytes=1, seconds=1.0)
        bench.running = lane.claim(["Add-1"])
        assert bench.running.id == ticket


def test_tickets_without_a_key_are_one_keys(bench, lane):
    strangers = [send(bench).id for _ in range(3)]
    place(bench)
    anna = [send(bench, "anna").id for _ in range(2)]
    more = send(bench).id
    place(bench)
    assert line(bench) == [strangers[0], anna[0], strangers[1], anna[1], strangers[2], more]


def test_turns_go_on_behind_a_queue_of_which_the_front_alone_is_read(bench, lane):
    many = FRONT + 50
    cohort = [send(bench, "anna").id for _ in range(many)]
    place(bench)
    more = []
    for _ in range(2):
        more.append(send(bench, "anna").id)
        place(bench)
    single = send(bench, "ben").id
    place(bench)
    assert line(bench) == [cohort[0], single, *cohort[1:], *more]
    (queue,) = bench.manager.queues()
    assert queue.queued_seconds == pytest.approx(many + 3, abs=1), "the front's last one counts again in a moment"
    assert {part.key for part in queue.parts} == {"anna", "ben"}


def test_urgent_goes_first_and_night_counts_as_normal_once_it_has_waited_for_long(bench, lane):
    night, other = send(bench, "anna", NIGHT), send(bench, "anna", NIGHT)
    normal = [send(bench, "anna") for _ in range(2)]
    urgent = send(bench, "ben", URGENT)
    place(bench)
    assert line(bench) == [urgent.id, *(each.id for each in normal), night.id, other.id]
    bench.run("UPDATE tickets SET created = created - interval '13 hours' WHERE id = :id", id=night.id)
    assert bench.manager.unqueue_raised(within=NO_TIME) == [], "the clock was just set"
    assert bench.manager.unqueue_raised() == [night.id]
    assert bench.manager.unqueue_raised() == []
    bench.run("UPDATE tickets SET key_name = 'carla' WHERE id = :id", id=night.id)
    place(bench)
    assert line(bench)[:2] == [urgent.id, night.id]
    assert rank_of(bench.read(night).queue_order) == RANKS[NORMAL]
    bench.run("UPDATE tickets SET created = created - interval '99 hours' WHERE id <> :id", id=other.id)
    assert bench.manager.unqueue_raised() == [], "nothing is urgent since it has waited"


def test_by_a_clock_that_was_just_set_a_ticket_of_the_night_is_not_normal(bench, lane):
    night = send(bench, "anna", NIGHT)
    bench.run("UPDATE tickets SET created = created - interval '13 hours' WHERE id = :id", id=night.id)
    ranks = {within: bench.manager.read(within=within).submitted[0].rank for within in (NO_TIME, ANY_TIME)}
    assert ranks == {NO_TIME: RANKS[NIGHT], ANY_TIME: RANKS[NORMAL]}


def test_what_waits_in_a_queue_without_a_turn_gets_one_soon(bench, lane):
    first = send(bench, "anna")
    bench.queue(first, SOURCE)
    bench.run("UPDATE tickets SET queue_order = 5 WHERE id = :id", id=first.id)
    urgent, front = send(bench, "ben", URGENT), send(bench, "ben")
    bench.web.move_to_front(front, operator="olga")
    place(bench)
    assert line(bench) == [front.id, first.id, urgent.id], "it is about to be claimed"
    assert bench.manager.unqueue_raised() == []
    bench.run("UPDATE tickets SET created = created - interval '11 seconds' WHERE state = 'queued'")
    assert bench.manager.unqueue_raised() == [first.id]
    place(bench)
    assert line(bench) == [front.id, urgent.id, first.id]
    assert bench.manager.unqueue_raised() == []


def test_what_an_operator_moves_to_the_front_while_it_gets_its_turn_stays_there(bench, lane):
    cohort = [send(bench, "anna") for _ in range(3)]
    reading = bench.manager.read()
    moves = assign(reading.submitted, reading.queues)
    moved = bench.web.move_to_front(cohort[-1], operator="olga")
    bench.manager.assign(moves)
    assert line(bench) == [cohort[-1].id, cohort[0].id, cohort[1].id]
    assert bench.read(moved).queue_order == moved.queue_order


def test_what_comes_back_from_a_source_goes_first_again(bench, lane):
    cohort = [send(bench, "anna").id for _ in range(3)]
    place(bench)
    assert lane.put_back(bench.running)
    place(bench)
    assert line(bench) == [bench.running.id, *cohort], "of those that are next it came first"


def end(bench, key, seconds, state="succeeded"):
    """Enter a ticket that has just ended."""
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, key_name, started,
             finished, result_sha256, result_bytes)
           SELECT '\\x00', 'Add', 'Add-1', :folder, :state, 'here/cpu-0', :key,
             at - make_interval(secs => :seconds), at, 'x', 1
           FROM (SELECT clock_timestamp() - interval '5 seconds' AS at) a""",
        folder=f"ended-{seconds}",
        key=key,
        state=state,
        seconds=seconds,
    )


def test_what_runs_after_a_clock_was_set_back_is_counted(bench, lane):
    shares = ShareStore(bench.database)
    end(bench, "anna", 40)
    shares.count()
    bench.run("UPDATE shares SET counted = counted + interval '1 day'")
    end(bench, "ben", 20)
    shares.count()
    assert shares.read()["ben"].used_seconds[RANKS[NORMAL]] == pytest.approx(20, rel=0.01)


def test_what_each_key_used_is_counted_once_and_half_of_it_is_forgotten_in_an_hour(bench, lane):
    shares = ShareStore(bench.database)
    KeyStore(bench.database).make("ben", None, weight=2.0)
    for key, state, seconds in (("anna", "succeeded", 40), ("anna", "failed", 20), (None, "failed", 8)):
        end(bench, key, seconds, state)
    normal = RANKS[NORMAL]
    for _ in range(2):
        shares.count()
        found = shares.read()
        assert found["anna"].used_seconds[normal] == pytest.approx(60, rel=0.01)
        assert found[""].used_seconds[normal] == pytest.approx(8, rel=0.01)
        assert found["ben"] == Share(weight=2.0, used_seconds={})
    bench.run("UPDATE shares SET counted = counted - make_interval(secs => :half)", half=HALF_LIFE_SECONDS)
    assert shares.read()["anna"].used_seconds[normal] == pytest.approx(30, rel=0.01)


def test_an_operator_moves_a_waiting_ticket_before_all_others(bench, lane):
    urgent, last = send(bench, "anna", URGENT), send(bench, "anna", NIGHT)
    place(bench)
    unplaced = send(bench, "anna", NIGHT)
    for ticket in (last, unplaced):
        moved = bench.web.move_to_front(ticket, operator="olga")
        assert moved.queue_order < 0
    place(bench)
    assert line(bench) == [unplaced.id, last.id, urgent.id], "the one that was moved last goes first"
    assert bench.manager.unqueue_raised() == []
    assert bench.web.move_to_front(bench.running, operator="olga") is None
    trail = bench.run("SELECT who, ticket, outcome FROM audit WHERE what = 'to front' ORDER BY id")
    assert [tuple(row) for row in trail] == [("olga", last.id, "queued"), ("olga", unplaced.id, "submitted")]
    seen = OperatorStore(bench.database, bench.hints.append).overview(rules=RULES).busy
    assert [(each.id, each.priority, each.moved_to_front) for each in seen if each.state == "queued"] == [
        *((ticket, NIGHT, True) for ticket in (unplaced.id, last.id)),
        (urgent.id, URGENT, False),
    ]


def test_a_ticket_that_is_run_again_keeps_its_priority(bench, lane):
    ticket = send(bench, "anna", URGENT)
    place(bench)
    lane.succeed(bench.running, sha256="0" * 64, size_bytes=1, seconds=1.0)
    lane.fail(lane.claim(["Add-1"]), {"type": "x", "title": "X", "status": 409, "detail": "x"})
    again = bench.web.run_again(bench.read(ticket), "again", operator="olga", rules=RULES)
    assert again.priority == URGENT


def test_a_key_has_priorities_and_a_weight_that_can_be_changed(database):
    keys = KeyStore(database)
    made = keys.make("anna", None)
    assert keys.find(made).priorities == (NORMAL, NIGHT)
    other = keys.make("ben", None, priorities=[NIGHT, URGENT], weight=0.5)
    assert (keys.find(other).priorities, keys.find(other).weight) == ((URGENT, NIGHT), 0.5)
    assert keys.change("anna", priorities=[URGENT, NORMAL], weight=None)
    assert keys.change("anna", priorities=None, weight=3.0)
    assert (keys.find(made).priorities, keys.find(made).weight) == ((URGENT, NORMAL), 3.0)
    keys.revoke("anna")
    assert not keys.change("anna", priorities=None, weight=1.0)
