"""Long queues: the manager reads their fronts each round, and knows how long the rest is."""

import time

import pytest

from tests.integration.watched_statements import watched_statements
from tomaat.tickets import long_queues
from tomaat.tickets.manager_store import FRONT
from tomaat.tickets.queue import Placement

MANY = 250  #: more than a front
SOURCE = "here/cpu-0"


@pytest.fixture
def queued(bench):
    """A queue of many tickets that are expected to take 2 s each, of two services."""
    lane = bench.source(SOURCE, services=("Add", "Blur"))
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, expected_seconds)
           SELECT '\\x00', s, s || '-1', 'f-' || s || n, 'queued', :source, 2
           FROM generate_series(1, :each) n, unnest(ARRAY['Add', 'Blur']) s ORDER BY s, n""",
        source=SOURCE,
        each=MANY // 2,
    )
    return lane


def seconds(bench):
    (queue,) = bench.manager.queues()
    return queue.queued_seconds


def test_the_whole_queue_counts_though_its_front_is_read_only(bench, queued, monkeypatch):
    monkeypatch.setattr(long_queues, "SHORTEST_SECONDS", 3600.0)
    with watched_statements(after=lambda cursor, *_: told.append(cursor.rowcount)):
        told: list[int] = []
        assert seconds(bench) == 2.0 * MANY
        assert len(told) == 2, "the fronts, and the rests"
        assert seconds(bench) == 2.0 * MANY
        assert len(told) == 3, "the rests are remembered"
    (queue,) = bench.manager.queues()
    assert queue.recent[-1] == "Blur", "the last one waits behind the front"


def test_a_rest_is_read_again_slice_by_slice_and_what_joins_meanwhile_counts_once(bench, queued, monkeypatch):
    monkeypatch.setattr(long_queues, "SHORTEST_SECONDS", 0.0)
    monkeypatch.setattr(long_queues, "SHARE", 1e9)
    monkeypatch.setattr(long_queues, "SLICE", 20)
    read = []
    assert seconds(bench) == 2.0 * MANY, "at first all of it is read"
    (last,) = bench.run("SELECT max(queue_order) AS place FROM tickets")
    bench.force("UPDATE tickets SET queue_order = queue_order + 2 WHERE queue_order = :place", place=last.place)
    with watched_statements(after=lambda cursor, *_: read.append(cursor.rowcount)):
        assert seconds(bench) == 2.0 * MANY
    assert len(read) == 2, "the fronts, and one slice"
    assert bench.manager.long_queues.rests[SOURCE].read_to < last.place, "others follow in the next rounds"
    early, late = bench.submit(), bench.submit()
    bench.force("UPDATE tickets SET queue_order = :place WHERE id = :id", place=FRONT + 5, id=early.id)
    for ticket in (early, late):
        bench.manager.assign([Placement(ticket=ticket.id, from_source=None, to_source=SOURCE)])
    for _ in range(8):
        assert seconds(bench) == 2.0 * MANY + 2.0
    bench.force("DELETE FROM tickets WHERE id = :id", id=late.id)
    for _ in range(8):
        seconds(bench)
    assert seconds(bench) == 2.0 * MANY + 1.0


def test_a_ticket_that_joins_a_long_queue_counts_at_once(bench, queued, monkeypatch):
    monkeypatch.setattr(long_queues, "SHORTEST_SECONDS", 3600.0)
    before = seconds(bench)
    ticket = bench.submit()
    bench.manager.assign([Placement(ticket=ticket.id, from_source=None, to_source=SOURCE, loading_seconds=5.0)])
    assert seconds(bench) == before + 1.0 + 5.0, "a second, as long as nothing was measured, and its loading"


def test_what_is_remembered_is_read_again_after_a_while(bench, queued, monkeypatch):
    monkeypatch.setattr(long_queues, "SHORTEST_SECONDS", 0.0)
    monkeypatch.setattr(long_queues, "SHARE", 1e9)
    assert seconds(bench) == 2.0 * MANY
    bench.force("DELETE FROM tickets WHERE service = 'Blur'")
    time.sleep(0.01)
    assert seconds(bench) == 2.0 * (MANY // 2)


def test_the_oldest_of_each_interface_are_read_however_many_wait_for_others(bench):
    bench.source()
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder)
           SELECT '\\x00', 'Gone', 'Gone-1', 'gone' || n FROM generate_series(1, 3000) n"""
    )
    tickets = [bench.submit() for _ in range(3)]
    assert [waiting.ticket for waiting in bench.manager.read().submitted] == [ticket.id for ticket in tickets]
    assert FRONT < MANY
