"""Services that nobody offers any more, and the sources that an operator forgets, on a real PostgreSQL."""

import sys
from unittest import mock

import pytest

from tests.integration.test_refused_rows import refuse
from tomaat.database import ENDED, Hint
from tomaat.launch import sources
from tomaat.manager import withdrawals
from tomaat.manager.withdrawals import EVERY_SECONDS, WATCH_SECONDS, Withdrawals
from tomaat.tickets.withdrawal_store import WithdrawalStore


class Watch:
    """The manager's look at withdrawals, with a clock of its own."""

    def __init__(self, bench, after_hours=48.0):
        self.now = 1000.0
        self.bench = bench
        self.withdrawals = Withdrawals(WithdrawalStore(bench.database, bench.hints.append), after_hours=after_hours)

    def pass_by(self, seconds):
        """Look each minute until the seconds are over, and once more."""
        until = self.now + seconds
        with mock.patch.object(withdrawals.time, "monotonic", side_effect=lambda: self.now):
            while self.now <= until:
                self.withdrawals.look()
                self.now += EVERY_SECONDS

    def services(self):
        return [service.name for service in self.bench.web.offered_services()]


@pytest.fixture
def watch(bench):
    return Watch(bench)


def age(bench, hours):
    """Let the last offers, and the tickets, be older."""
    bench.run("UPDATE last_offered SET at = at - make_interval(secs => 3600 * :hours)", hours=hours)
    bench.run("UPDATE offers SET offered = offered - make_interval(secs => 3600 * :hours)", hours=hours)
    bench.run("UPDATE tickets SET created = created - make_interval(secs => 3600 * :hours)", hours=hours)


def test_a_service_that_nobody_has_offered_for_the_bound_is_withdrawn_and_its_tickets_fail(bench, watch):
    bench.source("here/cpu-0", services=("Add",))
    bench.source("here/cpu-1", services=("Blur",))
    watch.pass_by(0)
    ticket, other = bench.submit("Add"), bench.submit("Blur")
    bench.lapse("here/cpu-0")
    age(bench, 47)
    watch.pass_by(WATCH_SECONDS)
    assert watch.services() == ["Add", "Blur"], "the bound is not over"
    age(bench, 2)
    bench.hints.clear()
    watch.pass_by(0)
    assert watch.services() == ["Blur"]
    failed = bench.read(ticket)
    assert failed.state == "failed"
    assert failed.error["type"] == "/problems/service-withdrawn"
    assert failed.error["detail"] == "Add: no compute source has offered it for 48 hours; it was withdrawn."
    assert Hint(ENDED) in bench.hints
    assert bench.read(other).state == "submitted"
    noted = bench.run("SELECT who, outcome FROM audit WHERE what = 'withdraw'")
    assert [tuple(line) for line in noted] == [("QueueManager", "Add")]


def test_a_service_that_another_source_offers_is_not_withdrawn(bench, watch):
    bench.source("here/cpu-0", services=("Add",))
    bench.source("here/cpu-1", services=("Add",))
    watch.pass_by(WATCH_SECONDS)
    bench.lapse("here/cpu-0")
    age(bench, 100)
    watch.pass_by(EVERY_SECONDS)
    assert len(bench.run("SELECT FROM offers")) == 2, "its measurements stay, too"
    assert watch.services() == ["Add"]


def test_a_drained_source_still_offers(bench, watch):
    bench.source("here/cpu-0")
    bench.run("UPDATE compute_sources SET drained = true")
    watch.pass_by(WATCH_SECONDS)
    age(bench, 100)
    watch.pass_by(EVERY_SECONDS)
    assert watch.services() == ["Add"]


def test_the_tickets_of_a_renamed_task_fail_once_the_bound_is_over(bench, watch):
    """Its source took the offer back at once, when it offered the new name."""
    lane = bench.source("here/cpu-0", services=("Liver",))
    watch.pass_by(WATCH_SECONDS)
    ticket = bench.submit("Liver")
    bench.offer(lane.lease, "LiverSegmentation")
    watch.pass_by(EVERY_SECONDS)
    assert bench.read(ticket).state == "submitted", "it may come back"
    age(bench, 49)
    watch.pass_by(EVERY_SECONDS)
    assert bench.read(ticket).error["type"] == "/problems/service-withdrawn"


def test_a_service_that_was_never_seen_by_the_manager_counts_from_its_ticket(bench, watch):
    bench.source("here/cpu-0")
    watch.pass_by(WATCH_SECONDS)
    ticket = bench.submit("Gone")
    watch.pass_by(EVERY_SECONDS)
    assert bench.read(ticket).state == "submitted"
    age(bench, 49)
    watch.pass_by(EVERY_SECONDS)
    assert bench.read(ticket).state == "failed"


def test_a_machine_that_was_off_for_long_starts_its_sources_before_anything_is_withdrawn(bench, watch):
    bench.source("here/cpu-0")
    watch.pass_by(2 * WATCH_SECONDS)
    bench.lapse("here/cpu-0")
    age(bench, 100)
    watch.now += 3600.0  # nobody watched
    watch.pass_by(WATCH_SECONDS - 2 * EVERY_SECONDS)
    assert watch.services() == ["Add"]
    watch.pass_by(2 * EVERY_SECONDS)
    assert watch.services() == []


def test_a_ticket_that_came_while_its_service_was_withdrawn_fails_too(bench, watch):
    bench.source("here/cpu-0")
    watch.pass_by(WATCH_SECONDS)
    bench.lapse("here/cpu-0")
    age(bench, 48.5)
    watch.pass_by(EVERY_SECONDS)
    straggler = bench.submit("Add")
    watch.pass_by(EVERY_SECONDS)
    assert bench.read(straggler).state == "failed"
    age(bench, 1)
    watch.pass_by(EVERY_SECONDS)
    assert bench.run("SELECT FROM last_offered") == []


def test_a_ticket_whose_row_is_refused_keeps_no_other_one_and_no_other_service(bench, watch):
    bench.source("here/cpu-0", services=("Add", "Blur"))
    watch.pass_by(WATCH_SECONDS)
    tickets = [bench.submit(service) for service in ("Add", "Add", "Blur")]
    refuse(bench, tickets[0])
    bench.lapse("here/cpu-0")
    bench.run("UPDATE last_offered SET at = at - interval '50 hours'")
    bench.run("UPDATE offers SET offered = offered - interval '50 hours'")
    watch.pass_by(EVERY_SECONDS)
    assert [bench.read(ticket).state for ticket in tickets] == ["submitted", "failed", "failed"]
    assert bench.run("SELECT FROM last_offered") == []


def test_an_offer_of_a_present_holder_stays_whatever_was_noted_and_its_tickets_wait(bench, watch):
    bench.source("here/cpu-0")
    store = watch.withdrawals.store
    store.note_offered()
    ticket = bench.submit()
    age(bench, 100)
    assert (store.withdraw(hours=48), store.awaited(hours=48)) == ([], [])
    bench.lapse("here/cpu-0")
    assert store.awaited(hours=48) == [], "it is not withdrawn yet"
    assert store.withdraw(hours=48) == ["Add"]
    assert [withdrawn.service for withdrawn in store.awaited(hours=48)] == ["Add"]
    assert bench.read(ticket).state == "submitted"


def test_within_a_minute_the_database_is_asked_once(bench, watch):
    asked = []
    watch.withdrawals.store = mock.Mock(note_offered=lambda: asked.append("noted"))
    with mock.patch.object(withdrawals.time, "monotonic", return_value=5.0):
        for _ in range(100):
            watch.withdrawals.look()
    assert asked == ["noted"]


@pytest.fixture
def command(bench, monkeypatch, capsys):
    """Run the command of the sources; give exit code, standard output and standard error."""
    url = bench.database.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    monkeypatch.setenv("TOMAAT_DATABASE_URL", url)
    monkeypatch.setenv("TOMAAT_LEASE_SECONDS", "1")

    monkeypatch.setattr(sources, "configure_logging", lambda *_: None)  # it would keep a test's own stderr

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["sources", *words])
        return (sources.main(), *capsys.readouterr())

    return run


def test_a_source_that_is_gone_is_forgotten_with_its_offers_and_its_epochs_go_on(bench, command):
    lane = bench.source("here/cpu-0", services=("Add", "Blur"))
    bench.source("here/cpu-1", services=("Blur",))
    lane.succeed(bench.claimed(lane), sha256="0" * 64, size_bytes=1, seconds=3.0)
    queued, running = bench.submit(), bench.claimed(lane)
    bench.queue(queued, "here/cpu-0")
    bench.lapse("here/cpu-0")
    assert command("list")[1].splitlines() == [
        "here/cpu-0: held by nobody, 1 tickets wait",
        "here/cpu-1: held, 0 tickets wait",
    ]
    code, out, _ = command("forget", "here/cpu-0")
    assert (code, out.splitlines()[0]) == (0, "here/cpu-0 is forgotten."), "its holder did not give it back"
    assert "Nobody offers Add any more" in out
    assert command("list")[1] == "here/cpu-1: held, 0 tickets wait\n"
    assert [service.name for service in bench.web.offered_services()] == ["Blur"]
    assert bench.run("SELECT FROM durations WHERE source = 'here/cpu-0'") == []
    assert bench.manager.unqueue_stranded(settled=True) == [queued.id]
    assert bench.manager.take_back(settled=False, attempts=3) == [(running.id, "submitted")], "its epoch is over"
    noted = bench.run("SELECT who, outcome FROM audit WHERE what = 'forget'")
    assert [tuple(line) for line in noted] == [("command line", "here/cpu-0")]
    again = bench.sources.take("here/cpu-0", "b")
    assert again is not None
    assert again.epoch > lane.lease.epoch + 1, "the one that forgot it held it, too"


def test_a_source_that_is_held_is_not_forgotten(bench, command):
    bench.source("here/cpu-0")
    code, _, err = command("forget", "here/cpu-0")
    assert code == 1
    assert err.startswith("A TaskScheduling holds here/cpu-0: end it")
    assert command("list")[1] == "here/cpu-0: held, 0 tickets wait\n"


def test_only_its_holder_forgets_a_source(bench):
    lane = bench.source("here/cpu-0")
    bench.lapse("here/cpu-0")
    assert bench.sources.take("here/cpu-0", "b") is not None
    assert not bench.sources.forget(lane.lease)
    assert [source.name for source in bench.watch.world().sources] == ["here/cpu-0"]


def test_a_source_that_is_not_there_is_named(bench, command):
    bench.source("here/cpu-0")
    code, _, err = command("forget", "here/cpu-9")
    assert (code, err) == (1, "There is no compute source here/cpu-9; there are: here/cpu-0.\n")
