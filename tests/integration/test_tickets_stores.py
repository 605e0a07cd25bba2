"""Each move of a ticket, on a real PostgreSQL, and the guards that keep two hands off one ticket."""

import re
import threading
import time
from contextlib import contextmanager

import pytest

from tests.integration.watched_statements import watched_statements
from tomaat.database import ENDED, MOVED, SUBMITTED, Hint, Hints
from tomaat.database import QUEUED as HINT_OF_A_QUEUE
from tomaat.devices.need import Need
from tomaat.manager.choosing import Expectations
from tomaat.tickets.hints import hints_of
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.lines import Outlook
from tomaat.tickets.queue import Misfit, Placement
from tomaat.tickets.states import MANAGER
from tomaat.tickets.ticket_store import ShortestQueue

RESULT = {"sha256": "0" * 64, "size_bytes": 10, "seconds": 1.0}
ERROR = {"type": "/problems/x", "title": "X", "detail": "x"}


def test_a_submitted_ticket_waits_and_is_hinted(bench):
    ticket = bench.submit()
    assert (ticket.state, ticket.claim, ticket.source) == ("submitted", 0, None)
    assert bench.hints == [Hint(SUBMITTED)]
    assert bench.web.count_waiting() == 1


def test_a_ticket_that_gets_a_queue_is_told_by_the_same_statement(bench, database_url):
    lane = bench.source()
    ticket = bench.submit()
    bench.hints.clear()
    hints = Hints(database_url, HINT_OF_A_QUEUE, MOVED, deadline_seconds=5)
    hints.wait(0)
    placement = Placement(ticket=ticket.id, from_source=None, to_source=lane.lease.name)
    assert bench.manager.assign([placement]) == {ticket.id: lane.lease.name}
    assert hints.wait(5) == set(hints_of("submitted", "queued", MANAGER, ticket=ticket.id, source=lane.lease.name))
    assert bench.hints == []
    hints.close()


def test_submitting_a_folder_twice_gives_one_ticket(bench):
    new = bench.new_ticket()
    assert bench.web.submit(new).id == bench.web.submit(new).id
    assert bench.web.count_waiting() == 1


def test_a_claim_takes_the_oldest_of_its_own_queue(bench):
    lane, other = bench.source("here/cpu-0"), bench.source("here/cpu-1")
    first, second, elsewhere = bench.submit(), bench.submit(), bench.submit()
    bench.queue(second, lane.lease.name)
    bench.queue(first, lane.lease.name)
    bench.queue(elsewhere, other.lease.name)
    assert lane.claim(["Add-1"]).id == first.id
    assert lane.claim(["Add-1"]).id == second.id
    assert lane.claim(["Add-1"]) is None


def test_a_claim_leaves_a_ticket_of_another_interface(bench):
    lane = bench.source()
    bench.queue(bench.submit(), lane.lease.name)
    assert lane.claim(["Add-2"]) is None
    assert lane.claim(["Add-1"]) is not None


def test_a_claim_needs_a_lease_that_has_not_run_out(bench):
    lane = bench.source()
    bench.queue(bench.submit(), lane.lease.name)
    bench.lapse(lane.lease.name)
    assert lane.claim(["Add-1"]) is None


def test_a_claim_needs_the_sources_present_epoch(bench):
    stale = bench.source(holder="a")
    bench.lapse(stale.lease.name)
    fresh = bench.source(holder="b")
    assert fresh.lease.epoch > stale.lease.epoch
    bench.queue(bench.submit(), stale.lease.name)
    assert stale.claim(["Add-1"]) is None
    assert fresh.claim(["Add-1"]) is not None


def test_a_holder_that_took_its_source_again_claims_under_the_new_epoch_only(bench):
    before = bench.source("here/cpu-0", holder="a")
    bench.lapse("here/cpu-0")
    after = bench.source("here/cpu-0", holder="a")
    bench.queue(bench.submit(), "here/cpu-0")
    assert before.claim(["Add-1"]) is None
    assert after.claim(["Add-1"]) is not None


def test_looking_which_ticket_is_next_claims_nothing(bench):
    lane = bench.source()
    first, second = bench.submit(), bench.submit()
    bench.queue(first, lane.lease.name)
    bench.queue(second, lane.lease.name)
    assert lane.next_queued(["Add-2"]) is None
    assert lane.next_queued(["Add-1"]).id == lane.next_queued(["Add-1"]).id == first.id
    assert bench.read(first).state == "queued"
    assert lane.claim(["Add-1"]).id == first.id
    assert lane.next_queued(["Add-1"]).id == second.id


def test_a_ticket_that_runs_again_is_claimed_by_a_lane_with_no_other_and_never_overtaken(bench):
    lane = bench.source()
    again, fresh = bench.submit(), bench.submit()
    bench.run("UPDATE tickets SET claim = 1 WHERE id = :id", id=again.id)
    for ticket in (again, fresh):
        bench.queue(ticket, lane.lease.name)
    assert lane.claim(["Add-1"], beside_another=True) is None
    assert lane.claim(["Add-1"]).id == again.id
    assert lane.claim(["Add-1"], beside_another=True).id == fresh.id


def test_a_ticket_that_a_claim_of_unknown_outcome_took_is_found_beside_known_ones(bench):
    lane = bench.source()
    known, taken = bench.claimed(lane), bench.claimed(lane)
    assert [ticket.id for ticket in lane.left_running(known=[known.id])] == [taken.id]
    assert lane.left_running(known=[known.id, taken.id]) == []


def test_of_what_runs_the_lane_is_told_what_is_its_own_and_unknown_the_oldest_first(bench):
    former, neighbour = bench.source("here/cpu-0", holder="a"), bench.source("here/cpu-1")
    of_former = bench.claimed(former)
    bench.lapse("here/cpu-0")
    lane = bench.source("here/cpu-0", holder="b")
    ended, put_back, *own = (bench.claimed(lane) for _ in range(5))
    lane.succeed(ended, **RESULT)
    lane.put_back(put_back)
    bench.queue(put_back, "here/cpu-0")
    of_neighbour = bench.claimed(neighbour)
    bench.run("UPDATE tickets SET stage = 'moved' WHERE id = :id", id=own[0].id)  # its row is now behind the others'
    assert [ticket.id for ticket in lane.left_running()] == [ticket.id for ticket in own]
    assert [ticket.id for ticket in former.left_running()] == [of_former.id]
    assert [ticket.id for ticket in neighbour.left_running()] == [of_neighbour.id]


def test_to_look_for_a_ticket_that_runs_costs_the_same_with_a_hundred_thousand(bench):
    lane = bench.source()
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, finished, source, epoch,
             result_sha256, result_bytes)
           SELECT '\\x00', 'Add', 'Add-1', 'old' || n, CASE WHEN n % 2 = 0 THEN 'queued' ELSE 'succeeded' END,
             CASE WHEN n % 2 = 1 THEN now() END, 'here/cpu-0', :epoch, 'x', 1 FROM generate_series(1, 100000) n""",
        epoch=lane.lease.epoch,
    )
    for _ in range(3):
        lane.claim(["Add-1"])
    bench.run("VACUUM ANALYZE tickets")
    with explained() as plans:
        assert lane.left_running(known=[1, 2])
    (plan,) = plans
    assert "tickets_running" in plan
    assert int(re.search(r"Buffers: shared hit=(\d+)", plan)[1]) < 50


def test_many_claimers_never_take_one_ticket_twice(bench):
    lane = bench.source()
    for _ in range(60):
        bench.queue(bench.submit(), lane.lease.name)
    taken: list[int] = []

    def claim_all():
        misses = 0
        while misses < 20:
            ticket = lane.claim(["Add-1"])
            if ticket is None:
                misses += 1
            else:
                taken.append(ticket.id)

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 60
    assert len(set(taken)) == 60


def test_a_ticket_is_completed_once(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.succeed(ticket, **RESULT)
    done = bench.read(ticket)
    assert (done.state, done.result_sha256, done.result_bytes, done.progress) == ("succeeded", "0" * 64, 10, 1)
    assert not lane.fail(ticket, ERROR)
    assert bench.read(ticket).state == "succeeded"


def test_completing_again_after_an_unknown_outcome_is_true_and_changes_nothing(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.succeed(ticket, **RESULT)
    first = bench.read(ticket)
    assert lane.succeed(ticket, **RESULT)
    assert bench.read(ticket) == first


def test_a_late_completion_of_an_earlier_claim_is_refused(bench):
    stale = bench.source(holder="a")
    ticket = bench.claimed(stale)
    bench.lapse(stale.lease.name)
    fresh = bench.source(holder="b")
    assert bench.manager.take_back(settled=False, attempts=3) == [(ticket.id, "submitted")]
    bench.queue(ticket, fresh.lease.name)
    again = fresh.claim(["Add-1"])
    assert again.claim == ticket.claim + 1
    assert not stale.succeed(ticket, **RESULT)
    assert stale.report(ticket, 0.5, "late") is None
    assert bench.read(ticket).state == "running"
    assert fresh.succeed(again, **RESULT)


def test_a_late_end_of_an_earlier_claim_under_the_same_epoch_is_refused(bench):
    """The lease ran out unnoticed, the ticket was taken back, the holder renewed and claimed it again."""
    lane = bench.source()
    late = bench.claimed(lane)
    bench.lapse(lane.lease.name)
    bench.run("UPDATE tickets SET state = 'submitted', epoch = NULL, source = NULL")
    assert bench.sources.renew(lane.lease)
    bench.queue(late, lane.lease.name)
    present = lane.claim(["Add-1"])
    assert (present.id, present.epoch, present.claim) == (late.id, late.epoch, late.claim + 1)
    assert not lane.succeed(late, sha256="0" * 64, size_bytes=1, seconds=1.0)
    assert not lane.put_back(late)
    assert lane.give_up_attempt(late, attempts=3, error={}) is None
    assert lane.succeed(present, sha256="0" * 64, size_bytes=1, seconds=1.0)


def test_a_running_ticket_of_a_live_holder_is_not_taken_back(bench):
    lane = bench.source()
    bench.claimed(lane)
    assert bench.manager.take_back(settled=True, attempts=3) == []


def test_a_lapsed_lease_counts_only_when_the_manager_is_settled(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    bench.lapse(lane.lease.name)
    assert bench.manager.take_back(settled=False, attempts=3) == []
    wait_out_the_servers_start(bench)
    assert bench.manager.take_back(settled=True, attempts=3) == [(ticket.id, "submitted")]
    assert bench.read(ticket).attempts == 1


def wait_out_the_servers_start(bench):
    left = bench.run(
        "SELECT extract(epoch FROM pg_postmaster_start_time() + make_interval(secs => :s) - clock_timestamp()) AS s",
        s=bench.manager.lease_seconds,
    )[0].s
    threading.Event().wait(max(0.0, float(left)) + 0.01)


def test_nobody_is_declared_dead_within_a_lease_after_the_servers_start(bench):
    lane = bench.source()
    bench.claimed(lane)
    bench.lapse(lane.lease.name)
    bench.manager.lease_seconds = 1e6  # the server started less than this ago
    assert bench.manager.take_back(settled=True, attempts=3) == []


def test_the_last_attempt_fails_with_a_reason(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.give_up_attempt(ticket, attempts=1, error=ERROR) == "failed"
    failed = bench.read(ticket)
    assert failed.error == ERROR
    assert failed.finished is not None


def test_the_last_attempt_of_a_holder_that_is_gone_fails_with_a_reason(bench):
    lane = bench.source()
    tickets = [bench.claimed(lane), bench.claimed(lane)]
    bench.run("UPDATE tickets SET attempts = 1 WHERE id = :id", id=tickets[0].id)
    bench.lapse(lane.lease.name)
    bench.source(holder="b")
    assert set(bench.manager.take_back(settled=True, attempts=2)) == {
        (tickets[0].id, "failed"),
        (tickets[1].id, "submitted"),
    }
    failed = bench.read(tickets[0])
    assert failed.error["type"] == "/problems/worker-lost"
    assert failed.finished is not None


def test_a_dead_workers_ticket_waits_again_while_attempts_are_left(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.give_up_attempt(ticket, attempts=3, error=ERROR) == "submitted"
    again = bench.read(ticket)
    assert (again.attempts, again.source, again.error, again.claim) == (1, None, None, 1)


def test_a_ticket_put_back_spends_no_attempt(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.put_back(ticket)
    assert (bench.read(ticket).state, bench.read(ticket).attempts) == ("submitted", 0)


@pytest.mark.parametrize("queued", [False, True])
def test_cancelling_a_waiting_ticket_ends_it_at_once(bench, queued):
    lane = bench.source()
    ticket = bench.submit()
    if queued:
        bench.queue(ticket, lane.lease.name)
    assert bench.web.cancel(ticket).state == "cancelled"
    assert lane.claim(["Add-1"]) is None


def test_cancelling_a_running_ticket_is_asked_for_and_the_lane_hears_it(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    assert lane.look(ticket) is False
    asked = bench.web.cancel(ticket)
    assert (asked.state, asked.cancel_requested) == ("running", True)
    assert lane.look(ticket) is True
    assert lane.report(ticket, 0.5, "x") is True
    assert lane.cancelled(ticket)
    assert bench.read(ticket).state == "cancelled"


def test_a_completion_that_commits_first_wins_over_a_cancel(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    bench.web.cancel(ticket)
    assert lane.succeed(ticket, **RESULT)
    assert bench.read(ticket).state == "succeeded"


@pytest.mark.parametrize("how", ["give_up", "put_back", "take_back"])
def test_a_cancelled_ticket_whose_worker_is_gone_is_not_run_again(bench, how):
    lane = bench.source()
    ticket = bench.claimed(lane)
    bench.web.cancel(ticket)
    if how == "give_up":
        lane.give_up_attempt(ticket, attempts=3, error=ERROR)
    elif how == "put_back":
        lane.put_back(ticket)
    else:
        bench.lapse(lane.lease.name)
        bench.source(holder="b")
        bench.manager.take_back(settled=False, attempts=3)
    assert bench.read(ticket).state == "cancelled"


def test_a_cancelled_ticket_that_is_put_back_is_told_to_whoever_waits_for_it(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    bench.web.cancel(ticket)
    bench.hints.clear()
    assert lane.put_back(ticket)
    assert bench.hints == [Hint(ENDED, str(ticket.id))]


def test_a_ticket_that_is_put_back_is_told_to_the_manager_also_where_an_earlier_try_did_it(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    for put_back in (True, False):
        bench.hints.clear()
        assert lane.put_back(ticket) is put_back
        assert Hint(SUBMITTED) in bench.hints


def test_deleting_a_finished_ticket_expires_it_in_the_managers_next_round(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    lane.succeed(ticket, **RESULT)
    bench.web.cancel(ticket)
    assert [ended.id for ended in expire(bench)] == [ticket.id]
    assert bench.read(ticket).state == "expired"


def expire(bench, *, retention_hours=1.0, grace=None):
    return bench.manager.expire(retention_hours=retention_hours, fetched_grace_seconds=grace)


def test_a_failed_ticket_whose_deletion_is_asked_for_does_not_expire(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    lane.fail(ticket, ERROR)
    bench.web.cancel(ticket)
    assert expire(bench) == []
    assert bench.read(ticket).state == "failed"
    assert bench.manager.tickets.refused == [], "nor is that left to the trigger"


def test_a_result_expires_after_its_retention_time(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    lane.succeed(ticket, **RESULT)
    assert expire(bench) == []
    bench.run("UPDATE tickets SET finished = clock_timestamp() - interval '61 minutes'")
    assert [ended.id for ended in expire(bench)] == [ticket.id]


def test_a_fetched_result_expires_after_its_grace_only_where_the_strategy_says_so(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    lane.succeed(ticket, **RESULT)
    bench.web.mark_fetched([ticket.id])
    bench.run("UPDATE tickets SET fetched = clock_timestamp() - interval '10 seconds'")
    assert expire(bench) == []
    assert expire(bench, grace=60.0) == []
    assert [ended.id for ended in expire(bench, grace=5.0)] == [ticket.id]


def test_a_ticket_that_waits_too_long_fails_with_that_reason(bench):
    ticket = bench.submit()
    assert bench.manager.fail_waited(hours=1.0) == []
    bench.run("UPDATE tickets SET created = clock_timestamp() - interval '61 minutes'")
    assert bench.manager.fail_waited(hours=1.0) == [ticket.id]
    assert "no compute source ran the ticket within 1 hours" in bench.read(ticket).error["detail"]


@pytest.mark.parametrize("how", ["put_back", "give_up", "take_back"])
def test_a_ticket_that_came_back_waits_since_then_and_not_since_it_was_created(bench, how):
    lane = bench.source()
    ticket = bench.claimed(lane)
    bench.run("UPDATE tickets SET created = clock_timestamp() - interval '25 hours'")
    if how == "put_back":
        lane.put_back(ticket)
    elif how == "give_up":
        lane.give_up_attempt(ticket, attempts=3, error=ERROR)
    else:
        bench.lapse(lane.lease.name)
        bench.manager.take_back(settled=True, attempts=3)
    for state in ("submitted", "queued"):
        assert bench.read(ticket).state == state
        assert bench.manager.fail_waited(hours=24) == []
        bench.queue(ticket, lane.lease.name)
    bench.run("UPDATE tickets SET waiting_since = waiting_since - interval '25 hours'")
    assert bench.manager.fail_waited(hours=24) == [ticket.id]


def test_a_ticket_that_came_back_between_two_statements_is_not_failed(bench):
    """It had waited too long when the manager looked; then it was claimed, and put back."""
    lane = bench.source()
    ticket = bench.submit()
    bench.run("UPDATE tickets SET created = clock_timestamp() - interval '25 hours'")
    bench.queue(ticket, lane.lease.name)
    change = bench.manager.tickets.change

    def change_later(*how, **values):
        lane.put_back(lane.claim(["Add-1"]))
        return change(*how, **values)

    bench.manager.tickets.change = change_later
    assert bench.manager.fail_waited(hours=24) == []
    assert bench.read(ticket).state == "submitted"


def test_only_what_still_waits_where_it_was_read_is_queued_or_moved(bench):
    for name in ("here/cpu-0", "here/cpu-1"):
        bench.source(name)
    gone, moved = bench.submit(), bench.submit()
    to_first = [Placement(ticket=each.id, from_source=None, to_source="here/cpu-0") for each in (gone, moved)]
    bench.web.cancel(gone)
    assert len(bench.manager.assign(to_first)) == 1
    assert bench.read(gone).state == "cancelled"
    assert bench.manager.tickets.refused == [], "the statement itself leaves it, before the table of moves is asked"
    away = [Placement(ticket=each.id, from_source="here/cpu-1", to_source="here/cpu-0") for each in (gone, moved)]
    assert not bench.manager.move(away), "neither waits where it was read"
    there = [Placement(ticket=moved.id, from_source="here/cpu-0", to_source="here/cpu-1")]
    assert [len(bench.manager.move(there)) for _ in range(2)] == [1, 0]
    assert bench.read(moved).source == "here/cpu-1"


def test_tickets_of_a_source_that_is_gone_leave_its_queue(bench):
    lane = bench.source()
    ticket = bench.submit()
    bench.queue(ticket, lane.lease.name)
    wait_out_the_servers_start(bench)
    assert not bench.manager.unqueue_stranded(settled=True)
    bench.lapse(lane.lease.name)
    assert not bench.manager.unqueue_stranded(settled=False)
    assert len(bench.manager.unqueue_stranded(settled=True)) == 1
    assert (bench.read(ticket).state, bench.read(ticket).source) == ("submitted", None)


def test_tickets_of_an_interface_that_a_source_no_longer_offers_leave_its_queue(bench):
    lane = bench.source()
    ticket = bench.submit()
    bench.queue(ticket, lane.lease.name)
    bench.offer(lane.lease, "Add", version=2)
    assert len(bench.manager.unqueue_stranded(settled=False)) == 1
    assert bench.read(ticket).state == "submitted"


def test_an_offer_outlives_its_source_and_a_withdrawn_one_is_gone(bench):
    lane = bench.source(services=("Add", "Blur"))
    assert [(s.name, s.available) for s in bench.web.offered_services()] == [("Add", True), ("Blur", True)]
    bench.lapse(lane.lease.name)
    assert [(s.name, s.available) for s in bench.web.offered_services()] == [("Add", False), ("Blur", False)]
    again = bench.source(holder="b", services=("Blur",))
    assert [(s.name, s.available) for s in bench.web.offered_services()] == [("Blur", True)]
    assert again.lease.epoch > lane.lease.epoch


def test_a_service_tells_what_its_task_says_of_itself_and_nothing_where_an_earlier_version_offered_it(bench):
    lane = bench.source()
    (plain,) = bench.web.offered_services()
    assert (plain.trial, plain.intended_use, plain.licence, plain.reference, plain.contact) == (False, "", "", "", "")
    texts = {"trial": True, "intended_use": "For sums.", "licence": "MIT", "reference": "A book", "contact": "A lab"}
    offer = {"description": "adds", "version": "1", "interface": {}, **texts}
    bench.sources.offer(lane.lease, [{"service": "Add", "interface_hash": "Add-1", "offer": offer}])
    (told,) = bench.web.offered_services()
    assert {name: getattr(told, name) for name in texts} == texts


def test_an_offer_of_an_earlier_holder_is_available_again_once_the_new_ones_worker_offers(bench):
    former = bench.source(holder="a", services=("Add", "Blur")).lease
    bench.sources.release(former)
    lease = bench.sources.take(former.name, "b")
    assert [(s.name, s.available) for s in bench.web.offered_services()] == [("Add", False), ("Blur", False)]
    bench.offer(lease, "Add", "Cut")
    assert [(s.name, s.available) for s in bench.web.offered_services()] == [("Add", True), ("Cut", True)]


def test_a_new_ticket_is_told_the_shortest_queue_that_it_may_join(bench):
    lane = bench.source(services=("Add", "Blur"))
    bench.source(name="here/cpu-1", holder="b", services=("Blur",))
    bench.run("UPDATE leases SET expires = clock_timestamp() + interval '1 hour'")
    assert bench.web.ahead() == {name: ShortestQueue(waiting=0, wait_seconds=0.0) for name in ("Add-1", "Blur-1")}
    running = bench.claimed(lane)
    for _ in range(2):
        bench.queue(bench.submit(), lane.lease.name)
    bench.run("UPDATE tickets SET expected_seconds = 100 WHERE id = :id", id=running.id)
    ahead = bench.web.ahead()
    assert ahead["Blur-1"] == ShortestQueue(waiting=0, wait_seconds=0.0), "the other source is idle"
    assert ahead["Add-1"].waiting == 2, "what runs does not wait"
    assert 90 < ahead["Add-1"].wait_seconds < 102, "what is left of the running one, and a second for each other"
    bench.lapse("here/cpu-1")
    assert bench.web.ahead()["Blur-1"].waiting == 2
    bench.lapse(lane.lease.name)
    assert bench.web.ahead() == {}


def test_a_stale_holder_cannot_offer(bench):
    stale = bench.source(holder="a")
    bench.lapse(stale.lease.name)
    bench.source(holder="b", services=("Blur",))
    bench.offer(stale.lease, "Add")
    assert [s.name for s in bench.web.offered_services()] == ["Blur"]


def test_what_a_stale_holder_writes_about_its_source_is_ignored(bench):
    stale = bench.source(holder="a").lease
    assert bench.sources.note_worker(stale, 1, 10, 11)
    bench.lapse(stale.name)
    lease = bench.source(holder="b").lease
    assert bench.sources.note_worker(lease, 1, 20, 21)
    assert not bench.sources.note_worker(stale, 1, 30, 31)
    assert not bench.sources.describe(stale, device_name="GPU", memory_bytes=1, problem="it has no worker")
    assert bench.sources.workers_of(lease.name) == [(20, 21)]
    assert bench.manager.queues()[0].source == lease.name


def known(bench, name="here/cpu-0"):
    """What is told to the next worker of a source, where its network was measured."""
    names = ("interface_hash", "version", "network_bytes", "peak_bytes", "load_seconds")
    return [tuple(map(each.get, names)) for each in bench.sources.offers_of(name) if each["network_bytes"] is not None]


def test_what_was_measured_is_kept_and_given_to_the_next_worker(bench):
    lane = bench.source(services=("Add", "Blur"))
    assert known(bench) == []
    bench.needs(lane, "Blur", 5, None, 2.0, "Blur")
    bench.needs(lane, "Blur", 5, 7, 2.5, "Add", "Blur")
    assert known(bench) == [("Blur-1", "1", 5, 7, 2.5)]
    (queue,) = bench.manager.queues()
    assert queue.needs == {"Blur": Need(network_bytes=5, peak_bytes=7, load_seconds=2.5)}
    assert queue.recent == ("Add", "Blur")
    bench.needs(lane, "Blur", 5, 7, 2.5, "Blur")
    assert bench.manager.queues()[0].recent == ("Blur",)


def test_a_new_worker_says_itself_what_is_known_and_warm(bench):
    lane = bench.source()
    bench.needs(lane, "Add", 5, 7, 2.0, "Add")
    offer = {"service": "Add", "interface_hash": "Add-1", "offer": {"version": "1"}}
    bench.sources.offer(lane.lease, [offer | {"network_bytes": 6, "peak_bytes": 8, "load_seconds": 3.0, "warm": None}])
    assert known(bench) == [("Add-1", "1", 6, 8, 3.0)]
    assert bench.manager.queues()[0].recent == ()
    bench.offer(lane.lease, "Add", version=2)
    assert known(bench) == [], "another version's needs are unknown"


def test_a_stale_holder_measures_for_nobody(bench):
    stale = bench.source(holder="a")
    bench.lapse(stale.lease.name)
    bench.source(holder="b")
    bench.needs(stale, "Add", 5, 7, 2.0, "Add")
    assert known(bench) == []


def test_clients_see_what_a_service_needs_where_a_ticket_was_measured(bench):
    measured, loaded = bench.source("here/cpu-0"), bench.source("here/cpu-1")
    bench.source("here/cpu-2")
    bench.needs(measured, "Add", 5, 7, 2.0, "Add")
    bench.needs(loaded, "Add", 5, None, 2.0, "Add")
    assert [service.memory_bytes for service in bench.web.offered_services()] == [{"here/cpu-0": 7}]


def test_a_queue_tells_what_ran_and_waits_last_and_how_long_all_of_it_takes(bench):
    lane = bench.source(services=("Add", "Blur", "Cut"))
    bench.needs(lane, "Cut", 5, 7, 20.0, "Cut", "Add")
    assert bench.manager.queues()[0].idle
    bench.claimed(lane, "Blur")
    for service in ("Cut", "Add", "Cut"):
        bench.queue(bench.submit(service), lane.lease.name)
    bench.run("UPDATE tickets SET expected_seconds = 100, loading_seconds = CASE WHEN service = 'Cut' THEN 20 END")
    (queue,) = bench.manager.queues()
    assert queue.recent == ("Blur", "Add", "Cut")
    assert queue.performed == (pytest.approx(100, abs=30),)
    assert queue.queued_seconds == 340
    outlook = bench.outlook(bench.web.find(2))
    assert outlook.eta_seconds == pytest.approx(220, abs=30)


def test_a_ticket_that_is_overdue_is_expected_to_take_as_long_again(bench):
    lane = bench.source()
    ticket = bench.claimed(lane)
    lane.estimate({ticket.id: 100.0})
    bench.run("UPDATE tickets SET started = started - interval '1 hour'")
    assert bench.manager.queues()[0].performed == (pytest.approx(3500, abs=100),)


def test_a_ticket_whose_task_cannot_say_is_not_asked_again_by_whoever_asks(bench):
    lane = bench.source()
    for _ in range(3):
        bench.queue(bench.submit(), lane.lease.name)
    asked = lane.without_estimate(["Add"])
    assert len(asked) == 3
    lane.estimate({asked[0].id: 5.0, asked[1].id: None})
    assert [ticket.id for ticket in lane.without_estimate(["Add"])] == [asked[2].id]
    assert [bench.read(ticket).expected_seconds for ticket in asked] == [5.0, None, None]


def test_a_move_says_how_long_the_loading_takes_that_it_brings(bench):
    bench.source("here/cpu-0")
    bench.source("here/cpu-1")
    ticket = bench.submit()
    bench.manager.assign([Placement(ticket=ticket.id, from_source=None, to_source="here/cpu-0", loading_seconds=20.0)])
    assert bench.manager.fronts(["here/cpu-0"])["here/cpu-0"][0].loading_seconds == 20.0
    bench.manager.move([Placement(ticket=ticket.id, from_source="here/cpu-0", to_source="here/cpu-1")])
    assert bench.manager.fronts(["here/cpu-1"])["here/cpu-1"][0].loading_seconds == 0.0


def test_a_ticket_that_outgrew_its_source_waits_for_a_larger_one_and_spends_no_attempt(bench):
    lane = bench.source("here/GPU-a", memory_bytes=100)
    larger = bench.source("here/GPU-b", memory_bytes=200)
    ticket = bench.claimed(lane)
    bench.lapse(larger.lease.name)
    assert lane.outgrow(ticket, 100, ERROR) == "submitted", "also where the larger one is away"
    read = bench.read(ticket)
    assert (read.source, read.attempts, read.error) == (None, 0, None)
    assert bench.manager.read().submitted == []
    bench.source("here/GPU-b", holder="b", memory_bytes=200)
    assert [waiting.outgrown_bytes for waiting in bench.manager.read().submitted] == [100]
    assert lane.outgrow(ticket, 100, ERROR) is None, "it is nobody's now"


@pytest.mark.parametrize("memory", [200, None])
def test_a_ticket_that_outgrew_the_largest_source_fails_with_the_reason(bench, memory):
    bench.source("here/GPU-a", memory_bytes=100)
    bench.source("here/GPU-c", services=("Blur",), memory_bytes=300)
    lane = bench.source("here/GPU-b", memory_bytes=memory)
    ticket = bench.claimed(lane)
    assert lane.outgrow(ticket, memory, ERROR) == "failed"
    assert bench.read(ticket).error == ERROR


def test_a_ticket_that_outgrew_its_source_and_was_given_up_is_cancelled(bench):
    lane = bench.source("here/GPU-a", memory_bytes=100)
    bench.source("here/GPU-b", memory_bytes=200)
    ticket = bench.claimed(lane)
    bench.web.cancel(ticket)
    assert lane.outgrow(ticket, 100, ERROR) == "cancelled"


def test_only_tickets_that_wait_for_a_queue_fail_because_they_fit_nowhere(bench):
    lane = bench.source(services=("Add", "Blur"))
    running, queued, other = bench.claimed(lane), bench.submit(), bench.submit("Blur")
    bench.queue(queued, lane.lease.name)
    submitted = bench.submit()
    misfit = Misfit(service="Add", interface_hash="Add-1", needed_bytes=2 * 10**9, largest_bytes=10**9)
    assert bench.manager.fail_unfit(misfit) == [submitted.id]
    states = [bench.read(ticket).state for ticket in (running, queued, other)]
    assert states == ["running", "queued", "submitted"]


def test_tickets_leave_the_queue_of_a_source_that_is_too_small_for_them(bench):
    for name in ("here/GPU-a", "here/GPU-b"):
        bench.source(name)
        bench.queue(bench.submit(), name)
    unfit = [("here/GPU-b", "Add-1"), ("here/GPU-a", "Add-2")]
    assert len(bench.manager.unqueue_stranded(settled=False, unfit=unfit)) == 1
    assert [row.source for row in bench.run("SELECT source FROM tickets ORDER BY id")] == ["here/GPU-a", None]


def test_a_lease_has_one_holder_and_an_epoch_that_grows(bench):
    first = bench.sources.take("x", "a")
    assert bench.sources.take("x", "b") is None
    assert bench.sources.renew(first)
    bench.lapse("x")
    assert bench.sources.renew(first), "nobody took it meanwhile"
    bench.lapse("x")
    second = bench.sources.take("x", "b")
    assert second.epoch > first.epoch
    assert not bench.sources.renew(first)
    bench.sources.release(second)
    assert bench.sources.take("x", "c").epoch > second.epoch


def test_a_lease_of_a_holder_known_to_be_dead_is_taken_at_once(bench):
    bench.sources.take("x", "dead")
    assert bench.sources.take("x", "b", dead_holder="other") is None
    assert bench.sources.take("x", "b", dead_holder="dead") is not None


def test_position_and_eta_count_what_is_ahead(bench):
    lane = bench.source()
    running = bench.claimed(lane)
    lane.succeed(running, **{**RESULT, "seconds": 4.0})
    tickets = [bench.submit() for _ in range(3)]
    for ticket in tickets:
        bench.queue(ticket, lane.lease.name)
    assert [bench.outlook(ticket).position for ticket in tickets] == [1, 2, 3]
    assert [bench.outlook(ticket).eta_seconds for ticket in tickets] == [4.0, 8.0, 12.0]
    lane.estimate({tickets[0].id: 10.0})
    assert bench.outlook(tickets[1]).eta_seconds == 14.0
    lane.claim(["Add-1"])
    assert bench.outlook(tickets[0]).position is None
    assert 9.0 < bench.outlook(tickets[0]).eta_seconds <= 10.0
    assert bench.outlook(running).eta_seconds is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("UPDATE compute_sources SET drained = true", "is drained"),
        ("UPDATE compute_sources SET problem = 'no device'", "cannot be used now"),
        ("UPDATE leases SET expires = clock_timestamp() - interval '1 second' WHERE name = 'here/cpu-0'", "is away"),
        ("UPDATE offers SET epoch = 0", "has not loaded it yet"),
    ],
)
def test_no_end_is_promised_where_nothing_is_started_and_the_reason_is_told(bench, change, why):
    lane = bench.source()
    bench.sources.take("manager", "m")
    running, queued, waiting = bench.claimed(lane), bench.submit(), bench.submit()
    bench.queue(queued, lane.lease.name)
    assert bench.outlook(queued).eta_seconds is not None
    assert (bench.outlook(waiting), bench.web.lines().why_unavailable("Add-1")) == (Outlook(), None)
    bench.run(change)
    assert bench.outlook(queued) == Outlook(position=1, why_waiting=f"here/cpu-0 {why}.")
    everywhere = f"No compute source takes it now: here/cpu-0 {why}."
    assert bench.outlook(waiting) == Outlook(why_waiting=everywhere)
    assert bench.web.lines().why_unavailable("Add-1") == everywhere
    assert (bench.outlook(running).eta_seconds is None) == (why == "is away")
    assert bench.outlook(running).why_waiting == ("here/cpu-0 is away." if why == "is away" else None)


def test_of_two_that_run_neither_waits_for_the_other_and_the_next_waits_for_the_one_that_performs(bench):
    lane = bench.source()
    packed, performed, waiting = bench.claimed(lane), bench.claimed(lane), bench.submit()
    bench.queue(waiting, lane.lease.name)
    lane.estimate({packed.id: 1000.0, performed.id: 50.0, waiting.id: 3.0})
    assert bench.outlook(packed).eta_seconds > 900.0, "it was through sooner than it thought"
    assert 40.0 < bench.outlook(performed).eta_seconds <= 50.0
    assert 43.0 < bench.outlook(waiting).eta_seconds <= 53.0
    assert bench.outlook(waiting).position == 1
    (queue,) = bench.manager.queues()
    assert 40.0 < queue.performed[0] <= 50.0


def test_the_claim_reads_only_the_queues_own_index(bench):
    lane = bench.source()
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, finished, source, result_sha256,
             result_bytes) SELECT '\\x00', 'Add', 'Add-1', 'old' || n, 'succeeded', now(), 'here/cpu-0', 'x', 1
           FROM generate_series(1, 20000) n"""
    )
    for _ in range(20):
        bench.queue(bench.submit(), lane.lease.name)
    bench.run("ANALYZE tickets")
    plan = "\n".join(
        row[0]
        for row in bench.run(
            """EXPLAIN SELECT id FROM tickets WHERE state = 'queued' AND source = 'here/cpu-0'
               AND interface_hash = ANY(ARRAY['Add-1']) ORDER BY queue_order LIMIT 1"""
        )
    )
    assert "tickets_queued" in plan
    assert "Seq Scan" not in plan


def test_no_statement_of_the_doors_reads_the_whole_history(bench):
    """PostgreSQL counts sequential scans itself; each statement is asked often enough to get its generic plan."""
    lane = bench.source()
    bench.force(
        """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, claim, finished,
                                files_removed)
           SELECT 'x', 'Add', 'Add-1', 'old' || n, 'failed', 'here/cpu-0', 1,
             clock_timestamp() - interval '1 hour' - n * interval '1 second', true
           FROM generate_series(1, 20000) n"""
    )
    bench.run("VACUUM ANALYZE tickets")
    before = sequential_scans(bench)
    for _ in range(7):
        ticket = bench.claimed(lane)
        waiting = bench.submit()
        lane.without_estimate(["Add"])
        lane.report(ticket, 0.5, "half")
        lane.left_running()
        lane.next_queued(["Add-1"])
        bench.outlook(ticket)
        bench.web.count_waiting()
        bench.web.ahead()
        bench.web.find_all([ticket.id, waiting.id])
        bench.watch.world()
        bench.watch.ended(None)
        bench.manager.queues()
        bench.manager.read()
        bench.manager.fronts(["here/cpu-0"])
        bench.manager.assign([Placement(ticket=waiting.id, from_source=None, to_source="here/cpu-0")])
        bench.manager.unqueue_stranded(settled=True)
        bench.manager.unqueue_raised()
        bench.manager.shares.count()
        bench.manager.shares.read()
        bench.manager.fail_unfit(Misfit(service="None", interface_hash="None-1", needed_bytes=2, largest_bytes=1))
        bench.manager.take_back(settled=True, attempts=3)
        bench.manager.fail_waited(hours=1)
        lane.succeed(ticket, sha256="0" * 64, size_bytes=1, seconds=1.0)
        bench.web.mark_fetched([ticket.id])
        bench.manager.expire(retention_hours=1, fetched_grace_seconds=100.0)
        bench.manager.removable(retention_hours=1, keep_input=False)
        bench.manager.expired_with_files()
        bench.manager.note_removed([ticket.id])
        bench.manager.known(["f1"])
        bench.manager.prune(days=1)
    assert sequential_scans(bench) == before


@contextmanager
def explained():
    """Write down the plan of each statement as PostgreSQL carried it out."""
    plans = []

    def explain(cursor, statement, values):
        with cursor.connection.cursor() as other:
            other.execute(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", values)
            plans.append("\n".join(row[0] for row in other.fetchall()))

    with watched_statements(before=explain):
        yield plans


def sequential_scans(bench):
    """Read the count once all connections have told theirs, which they do when they close."""
    bench.database.dispose()
    time.sleep(0.3)
    return bench.run("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tickets'")[0].seq_scan


@pytest.mark.parametrize(
    ("lanes", "running", "queued", "begins"),
    [
        (2, [50.0], [], 0.0),
        (2, [50.0, 80.0], [], 50.0),
        (2, [50.0, 80.0], [20.0], 70.0),
        (3, [50.0], [30.0, 30.0], 30.0),
        (2, [100.0, 10.0], [30.0, 30.0, 30.0], 100.0),
    ],
)
def test_a_queue_is_as_long_as_its_lanes_need_for_it(bench, lanes, running, queued, begins):
    first = bench.source()
    bench.sources.note_lanes(first.lease, lanes)
    for number, seconds in enumerate(running, 1):
        lane = LaneStore(bench.database, first.lease, bench.hints.append, lane=number)
        lane.estimate({bench.claimed(lane).id: seconds})
    for seconds in queued:
        ticket = bench.submit()
        bench.queue(ticket, first.lease.name)
        first.estimate({ticket.id: seconds})
    (queue,) = bench.manager.queues()
    assert (queue.idle, queue.lanes, len(queue.performed)) == (not queued and len(running) < lanes, lanes, len(running))
    assert Expectations([queue]).free(queue)[0] == pytest.approx(begins, abs=10)
    (ahead,) = bench.web.ahead().values()
    assert ahead.wait_seconds == pytest.approx(begins, abs=10)
    if queued:
        last = bench.outlook(bench.web.find(ticket.id))
        assert last.position == len(queued)
        assert last.eta_seconds <= begins + queued[-1] + 10


def test_a_reading_is_noted_by_the_statement_that_finds_the_result(bench):
    lane = bench.source()
    done, deleted, running = (bench.claimed(lane) for _ in range(3))
    for ticket in (done, deleted):
        lane.succeed(ticket, **RESULT)
    bench.web.cancel(deleted)
    ids = [done.id, deleted.id, running.id]
    assert set(bench.web.find_all(ids, reading=[done.id, done.id, deleted.id, running.id])) == set(ids)
    assert set(bench.web.find_all(ids)) == set(ids)
    noted = bench.run("SELECT ticket, who, outcome FROM audit WHERE what = 'read result'")
    assert [tuple(line) for line in noted] == [(done.id, "holder of the token", "200")] * 2, "two have read one result"
