"""What is read for whoever watches, on a real PostgreSQL; and that each ended ticket is counted once."""

import time

import sqlalchemy

from tomaat.tickets.watch_store import LATEST_COMMIT_SECONDS
from tomaat.web.watch.ended_tickets import EndedTickets

RESULT = {"sha256": "0" * 64, "size_bytes": 10, "seconds": 1.0}


def counted(bench):
    told = []
    ended = EndedTickets(bench.watch, lambda ticket: told.append((ticket.id, ticket.outcome)))
    ended.look()
    return ended, told


def end_within(bench, ticket, connection, seconds_ago=0.0):
    """End a ticket in a transaction that is not committed yet."""
    connection.execute(
        sqlalchemy.text(
            "UPDATE tickets SET state = 'cancelled', finished = clock_timestamp() - make_interval(secs => :ago)"
            " WHERE id = :id"
        ),
        {"id": ticket.id, "ago": seconds_ago},
    )


def test_the_world_tells_tickets_queues_sources_services_and_the_manager(bench):
    lane = bench.source(services=("Add", "Idle"))
    running, queued = bench.claimed(lane), bench.submit()
    bench.queue(queued, lane.lease.name)
    bench.submit()
    gone = bench.source("here/cpu-1")
    bench.lapse(gone.lease.name)
    world = bench.watch.world()
    assert {(each.service, each.state, each.tickets) for each in world.unended} == {
        ("Add", "submitted", 1),
        ("Add", "queued", 1),
        ("Add", "running", 1),
    }
    assert all(0 <= each.oldest_seconds < 60 for each in world.unended)
    here, away = world.sources
    assert (here.name, here.held, here.usable, here.drained, here.waiting) == ("here/cpu-0", True, True, False, 1)
    assert 1.0 <= here.wait_seconds <= 2.0  # one queued second, and what is left of the running one
    assert (away.held, away.usable, away.waiting, away.wait_seconds) == (False, False, 0, 0.0)
    assert world.services == {"Add": True, "Idle": True}
    assert world.manager_held is False
    bench.sources.take("manager", "m")
    assert bench.watch.manager_held() is True
    bench.lapse("manager")
    assert bench.watch.manager_held() is False
    assert running.id != queued.id


def test_a_held_source_with_a_problem_or_without_an_offer_is_not_usable(bench):
    lane = bench.source()
    bench.sources.describe(lane.lease, device_name="CPU", memory_bytes=None, problem="broken")
    (source,) = bench.watch.world().sources
    assert (source.held, source.usable) == (True, False)
    bench.sources.describe(lane.lease, device_name="CPU", memory_bytes=None, problem=None)
    bench.lapse(lane.lease.name)
    bench.sources.take(lane.lease.name, "another")  # whose worker has not offered yet
    (source,) = bench.watch.world().sources
    assert (source.held, source.usable) == (True, False)


def test_the_devices_readings_and_the_draining_are_told(bench):
    bench.source()
    bench.run(
        """UPDATE compute_sources SET drained = true, device_used_bytes = 5, device_total_bytes = 10, device_use = 0.5,
             device_celsius = 70, device_read = clock_timestamp() - interval '1 minute'"""
    )
    (source,) = bench.watch.world().sources
    assert (source.drained, source.used_bytes, source.total_bytes, source.use) == (True, 5, 10, 0.5)
    assert source.celsius == 70
    assert 60 <= source.read_seconds < 120


def test_each_end_is_counted_once_and_what_ended_before_is_not(bench):
    lane = bench.source()
    before = bench.claimed(lane)
    lane.succeed(before, **RESULT)
    ended, told = counted(bench)
    first, second = bench.claimed(lane), bench.submit()
    lane.succeed(first, **RESULT)
    bench.web.cancel(second)
    for _ in range(3):
        ended.look()
    assert sorted(told) == [(first.id, "succeeded"), (second.id, "cancelled")]


def test_a_ticket_whose_end_is_committed_long_after_a_later_one_is_counted_once(bench):
    slow, quick = bench.submit(), bench.submit()
    ended, told = counted(bench)
    with bench.database.execution_options(isolation_level="READ COMMITTED").connect() as connection:
        end_within(bench, slow, connection, seconds_ago=LATEST_COMMIT_SECONDS - 30)
        bench.web.cancel(quick)
        ended.look()
        ended.look()
        assert told == [(quick.id, "cancelled")]
        connection.commit()
    ended.look()
    ended.look()
    assert told == [(quick.id, "cancelled"), (slow.id, "cancelled")]


def test_a_ticket_that_was_seen_is_counted_no_second_time_after_its_files_and_its_result_are_gone(bench):
    lane = bench.source()
    ended, told = counted(bench)
    ticket = bench.claimed(lane)
    lane.succeed(ticket, **RESULT)
    ended.look()
    bench.web.cancel(bench.read(ticket))
    bench.manager.expire(retention_hours=1, fetched_grace_seconds=None)
    ended.look()
    bench.manager.note_removed([ticket.id])
    ended.look()
    assert told == [(ticket.id, "succeeded")]


def test_a_ticket_whose_result_expired_between_two_looks_has_succeeded(bench):
    lane = bench.source()
    ended, told = counted(bench)
    ticket = bench.claimed(lane)
    lane.succeed(ticket, **RESULT)
    bench.web.cancel(bench.read(ticket))
    bench.manager.expire(retention_hours=1, fetched_grace_seconds=None)
    bench.manager.note_removed([ticket.id])
    ended.look()
    assert told == [(ticket.id, "succeeded")]


def test_how_long_a_ticket_waited_and_ran_and_why_it_failed_is_told(bench):
    lane = bench.source()
    told = []
    ended = EndedTickets(bench.watch, told.append)
    ended.look()
    ticket = bench.claimed(lane)
    bench.run(
        "UPDATE tickets SET created = started - interval '30 s', started = started - interval '10 s', attempts = 2"
    )
    lane.fail(ticket, {"type": "/problems/task-crashed", "title": "X", "detail": "x"})
    ended.look()
    (one,) = told
    assert (one.service, one.outcome, one.problem, one.attempts) == ("Add", "failed", "/problems/task-crashed", 2)
    assert abs(one.wait_seconds - 20) < 0.01
    assert 10 <= one.run_seconds < 60


def test_after_an_outage_what_ended_meanwhile_is_counted(bench, database):
    ended, told = counted(bench)
    ticket = bench.submit()
    bench.web.cancel(ticket)
    long_ago = ended.since
    bench.run("UPDATE tickets SET finished = finished - interval '1 hour'")
    ended.since = bench.run("SELECT CAST(:t AS timestamptz) - interval '2 hours' AS moment", t=long_ago)[0].moment
    ended.look()
    assert told == [(ticket.id, "cancelled")]


def test_a_clock_that_was_set_back_counts_nothing_twice_and_misses_nothing(bench):
    ended, told = counted(bench)
    first, second = bench.submit(), bench.submit()
    bench.web.cancel(first)
    ended.look()
    ended.since = bench.run("SELECT CAST(:t AS timestamptz) + interval '1 hour' AS moment", t=ended.since)[0].moment
    bench.web.cancel(second)
    ended.look()
    assert told == [(first.id, "cancelled"), (second.id, "cancelled")]


def test_a_scrape_of_a_busy_server_is_quick(bench):
    lane = bench.source()
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source)
           SELECT 'x', 'Add', 'Add-1', 'w' || n, 'queued', 'here/cpu-0' FROM generate_series(1, 20000) n"""
    )
    began = time.monotonic()
    world = bench.watch.world()
    assert time.monotonic() - began < 3
    assert world.sources[0].waiting == 20000
    assert lane.lease.name == "here/cpu-0"


def test_something_is_offered_while_a_held_source_without_a_problem_offers_drained_or_not(bench):
    assert not bench.watch.offers_anything()
    lane = bench.source()
    assert bench.watch.offers_anything()
    bench.run("UPDATE compute_sources SET drained = true")
    assert bench.watch.offers_anything()
    bench.run("UPDATE compute_sources SET problem = 'its device is broken'")
    assert not bench.watch.offers_anything()
    bench.run("UPDATE compute_sources SET problem = NULL")
    bench.lapse(lane.lease.name)
    assert not bench.watch.offers_anything()


def test_what_is_loaded_is_told_of_held_sources_in_order_until_all_is(bench):
    lane = bench.source()
    assert bench.watch.loading() == []
    bench.sources.note_loading(lane.lease, "Liver", 40.0)
    ((source, name, seconds),) = bench.watch.loading()
    assert (source, name) == ("here/cpu-0", "Liver")
    assert 40 <= seconds < 60
    bench.lapse(lane.lease.name)
    assert bench.watch.loading() == []
    again = bench.sources.take(lane.lease.name, "b")
    bench.sources.note_loading(lane.lease, "Kidney", 1.0)
    assert [name for _, name, _ in bench.watch.loading()] == ["its tasks"], "a stale holder's word does not count"
    bench.sources.note_loading(again, None, 0.0)
    assert bench.watch.loading() == []


def test_a_source_that_was_never_there_loads_its_tasks_until_all_are_loaded(bench):
    lease = bench.sources.take("new/cpu-0", "a")
    bench.sources.describe(lease, device_name="CPU", memory_bytes=None, problem=None)
    bench.offer(lease, "Add")
    assert [(source, name) for source, name, _ in bench.watch.loading()] == [("new/cpu-0", "its tasks")]
    bench.sources.note_loading(lease, None, 0.0)
    bench.sources.describe(lease, device_name="CPU", memory_bytes=None, problem=None)
    assert bench.watch.loading() == []


def test_a_source_that_was_just_taken_loads_its_tasks_whatever_its_last_holder_had_loaded(bench):
    lane = bench.source()
    bench.sources.note_loading(lane.lease, None, 0.0)
    bench.lapse(lane.lease.name)
    assert bench.sources.take(lane.lease.name, "another") is not None
    ((_, name, seconds),) = bench.watch.loading()
    assert name == "its tasks"
    assert 0 <= seconds < 20
    assert bench.sources.take(lane.lease.name, "a third") is None
    bench.run("UPDATE compute_sources SET loading = NULL")
    assert bench.sources.take(lane.lease.name, "a third") is None
    assert bench.watch.loading() == [], "it was not taken"
