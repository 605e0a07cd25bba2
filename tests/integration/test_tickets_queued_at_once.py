"""A new ticket goes straight into an idle source's queue, where the manager would put it, and else to the manager."""

import pytest

from tomaat.database import ENDED, IDLE, MOVED, QUEUED, SUBMITTED, Hint, Hints
from tomaat.manager.choosing import assign
from tomaat.manager.fitting import fitting

HERE, THERE = "here/cpu-0", "here/cpu-1"
NEED = {"network": 8, "peak": 9, "seconds": 2.0}


def idle_source(bench, name=HERE, *, services=("Add",), memory_bytes=None, warm=("Add",), peak=9):
    lane = bench.source(name, services=services, memory_bytes=memory_bytes)
    for service in services:
        bench.needs(lane, service, NEED["network"], peak, NEED["seconds"], *warm)
    return lane


def place(bench):
    """Where a new ticket is, and which hints were left to be sent."""
    bench.hints.clear()
    ticket = bench.submit()
    return ticket.state, ticket.source, [hint.channel for hint in bench.hints]


AT_ONCE = ("queued", HERE, [])
TO_THE_MANAGER = ("submitted", None, [SUBMITTED])


def test_where_the_manager_would_put_it_of_several_idle_sources(bench):
    idle_source(bench, THERE)
    idle_source(bench)
    reading = bench.manager.read()
    assert place(bench) == AT_ONCE
    ticket = bench.run("SELECT id, queue_order, loading_seconds FROM tickets")[0]
    assert ticket.loading_seconds == 0
    bench.force("UPDATE tickets SET state = 'submitted', source = NULL")
    (move,) = assign(bench.manager.read().submitted, fitting(reading.queues))
    assert move.to_source == HERE
    bench.force("UPDATE tickets SET state = 'queued', source = :s", s=HERE)
    assert place(bench) == ("queued", THERE, [])
    assert place(bench) == TO_THE_MANAGER, "no source is idle any more"


def test_it_is_claimed_like_any_other(bench):
    lane = idle_source(bench)
    ticket = bench.submit()
    assert lane.claim(["Add-1"]).id == ticket.id
    assert place(bench) == TO_THE_MANAGER, "the only lane is busy"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE compute_sources SET drained = true",
        "UPDATE compute_sources SET problem = 'broken'",
        "UPDATE leases SET expires = clock_timestamp() - interval '1 s'",
        "UPDATE leases SET epoch = epoch + 1",
        "UPDATE offers SET warm = NULL",
        "UPDATE offers SET interface_hash = 'Add-2'",
    ],
)
def test_not_to_a_source_that_would_not_begin_it(bench, change):
    idle_source(bench)
    bench.run(change)
    assert place(bench) == TO_THE_MANAGER


@pytest.mark.parametrize(("peak", "placed"), [(9, AT_ONCE), (11, TO_THE_MANAGER), (None, TO_THE_MANAGER)])
def test_only_where_it_is_known_to_fit(bench, peak, placed):
    idle_source(bench, memory_bytes=10, peak=peak)
    assert place(bench) == placed


def test_an_older_ticket_of_the_service_comes_first(bench):
    bench.submit()
    bench.submit("Blur")
    idle_source(bench)
    assert place(bench) == TO_THE_MANAGER
    bench.force("UPDATE tickets SET state = 'failed', finished = clock_timestamp() WHERE service = 'Add'")
    assert place(bench) == AT_ONCE, "one of another service may wait for long"


def test_a_source_with_a_free_lane_is_idle(bench):
    lane = idle_source(bench)
    bench.run("UPDATE compute_sources SET lanes = 2")
    assert place(bench) == AT_ONCE
    assert lane.claim(["Add-1"]) is not None
    assert place(bench) == AT_ONCE
    assert place(bench) == TO_THE_MANAGER, "one waits already"


def test_the_hints_are_in_the_statements(bench, database_url):
    """No statement of its own is needed for them, nor one about the beginning of a ticket that ends in a moment."""
    lane = idle_source(bench)
    hints = Hints(database_url, QUEUED, IDLE, MOVED, ENDED, deadline_seconds=10)
    try:
        hints.wait(0)
        bench.hints.clear()
        ticket = bench.submit()
        assert hints.wait(10) == {Hint(QUEUED, HERE)}
        claimed = lane.claim(["Add-1"], brief=["Add-1"])
        lane.ask_for_work(after_end=True)
        assert lane.succeed(claimed, sha256="x", size_bytes=1, seconds=1.0)
        assert hints.wait(10) == {Hint(ENDED, str(ticket.id)), Hint(IDLE, HERE)}
        assert bench.hints == []
        assert lane.succeed(claimed, sha256="x", size_bytes=1, seconds=1.0), "an outcome that was not known"
        assert bench.hints == [Hint(ENDED, str(ticket.id))]
    finally:
        hints.close()


def test_where_postgresql_takes_no_more_hints_nothing_else_is_lost(bench):
    lane = idle_source(bench)
    bench.run(
        """CREATE SCHEMA full_queue; CREATE FUNCTION full_queue.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
           $$ BEGIN RAISE program_limit_exceeded USING MESSAGE = 'too many notifications in the NOTIFY queue'; END $$;
           DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = full_queue, pg_catalog, public',
             current_database()); END $$"""
    )
    bench.database.dispose()
    assert place(bench) == TO_THE_MANAGER
    (row,) = bench.run("SELECT id FROM tickets")
    bench.force("UPDATE tickets SET state = 'queued', source = :s", s=HERE)
    claimed = lane.claim(["Add-1"])
    lane.ask_for_work(after_end=True)
    bench.hints.clear()
    assert lane.succeed(claimed, sha256="x", size_bytes=1, seconds=1.0)
    assert bench.hints == [Hint(ENDED, str(row.id)), Hint(IDLE, HERE)]
