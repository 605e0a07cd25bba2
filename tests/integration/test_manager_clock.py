"""The database's clock is set, by an hour or by days: nothing is lost by it, and the dead are found all the same."""

from datetime import datetime, timezone

import pytest
import structlog

from tests.integration.conftest import Bench
from tests.integration.controlled_clock import ControlledClock
from tests.integration.test_manager_manager import finished, manager
from tomaat.storage import Storage
from tomaat.tickets.manager_store import ANY_TIME
from tomaat.tickets.question_store import CLOCK
from tomaat.tickets.source_store import SourceStore, take_lease

LEASE = 10.0
HOUR = 3600.0
DAYS = 3 * 24 * HOUR
STEPS = pytest.mark.parametrize("step", [HOUR, DAYS, -HOUR], ids=["+1 h", "+3 days", "-1 h"])


class World:
    """A service whose database's clock and whose manager's own clock stand still until the test moves them."""

    def __init__(self, clock, storage, monkeypatch):
        self.clock = clock
        self.own = 1000.0
        monkeypatch.setattr("tomaat.manager.steady_clock.time.monotonic", lambda: self.own)
        self.bench = Bench(clock.database)
        self.bench.sources = SourceStore(clock.database, lease_seconds=LEASE)
        self.bench.manager.lease_seconds = LEASE
        self.storage = storage
        self.manage()
        self.lane = self.bench.source()
        self.done, self.folder = finished(self.bench, storage, self.lane)
        self.running = self.bench.claimed(self.lane)
        self.waiting = self.bench.submit()
        self.other = self.bench.submit("Gone")
        self.rounds()

    def manage(self):
        """Start a manager; the machine's clock goes as its own does."""
        self.manager = manager(self.bench, self.storage, lease_seconds=LEASE, clock_steady_seconds=600.0)
        self.manager.machine.read = lambda: datetime.fromtimestamp(1e9 + self.own, tz=timezone.utc)

    def pass_seconds(self, seconds):
        self.clock.pass_seconds(seconds)
        self.own += seconds

    def step(self, seconds):
        """Set the database's clock; no time has passed."""
        self.clock.run("UPDATE controlled.clock SET now = now + make_interval(secs => :s)", s=seconds)

    def rounds(self, seconds=0.0, *, alive=True):
        """Let time pass, in parts of a second or so, as a living scheduler and the manager see it."""
        left = seconds
        while True:
            self.manager.round()
            while self.manager.sweep.work():
                pass
            if left <= 0:
                return
            part = min(left, LEASE / 5)
            left -= part
            self.pass_seconds(part)
            if alive:
                assert self.bench.sources.renew(self.lane.lease)

    def states(self):
        return [self.bench.read(ticket).state for ticket in (self.done, self.running, self.waiting, self.other)]


@pytest.fixture
def world(make_database, tmp_path, monkeypatch):
    clock = ControlledClock(make_database())
    storage = Storage(tmp_path / "storage")
    storage.prepare()
    made = World(clock, storage, monkeypatch)
    yield made
    clock.database.dispose()


AS_BEFORE = ["succeeded", "running", "queued", "submitted"]


@STEPS
def test_a_step_takes_nothing_back_and_expires_fails_and_deletes_nothing(world, step):
    assert world.states() == AS_BEFORE
    world.step(step)
    with structlog.testing.capture_logs() as logs:
        world.rounds(100.0)
    assert world.states() == AS_BEFORE
    assert world.bench.read(world.running).attempts == 0
    assert world.folder.path.exists()
    (told,) = (line for line in logs if line["event"] == "clock.stepped")
    assert told["seconds"] == pytest.approx(step, abs=1.0)


def test_a_step_between_the_look_and_the_statement_changes_nothing(world):
    """The statement itself looks whether the clock is the one that the manager saw."""
    ages, leases = world.manager._for_ages, world.manager._for_leases
    world.step(DAYS)
    store = world.bench.manager
    assert store.expire(retention_hours=1, fetched_grace_seconds=1.0, within=ages) == []
    assert store.fail_waited(hours=1, within=ages) == []
    assert store.take_back(settled=True, attempts=1, within=leases) == []
    assert store.unqueue_stranded(settled=True, within=leases) == []
    assert store.removable(retention_hours=1, keep_input=False, within=ages) == []
    world.bench.run("UPDATE tickets SET files_removed = true WHERE state = 'succeeded'")
    assert store.prune(days=1, within=ages) == []
    world.bench.run("INSERT INTO audit (at, who, what, outcome) VALUES ('2020-01-01', 'a', 'b', 'c')")
    assert store.prune_audit(days=30, within=ages) == 0
    assert store.prune(days=1, within=ANY_TIME) == [world.done.id]
    assert store.take_back(settled=True, attempts=9, within=ANY_TIME) == [(world.running.id, "submitted")]


@STEPS
def test_after_a_step_the_clock_counts_again_once_it_was_steady_for_a_while(world, step):
    world.step(step)
    world.rounds(500.0)
    world.bench.run("UPDATE tickets SET finished = clock_timestamp() - interval '2 hours' WHERE state = 'succeeded'")
    world.rounds(80.0)
    assert world.bench.read(world.done).state == "succeeded"
    world.rounds(60.0)
    assert world.bench.read(world.done).state == "expired"
    assert not world.folder.path.exists()
    assert world.manager.questions.all() == []


@STEPS
def test_after_a_step_the_clock_counts_again_once_an_operator_agrees(world, step):
    world.step(step)
    world.rounds(10.0)
    world.bench.run("UPDATE tickets SET finished = clock_timestamp() - interval '2 hours' WHERE state = 'succeeded'")
    world.rounds(10.0)
    assert world.bench.read(world.done).state == "succeeded"
    (question,) = world.manager.questions.all()
    assert (question.what, question.amount) == (CLOCK, pytest.approx(abs(step), abs=1))
    assert world.manager.questions.agree(CLOCK) is not None
    world.rounds(1.0)
    world.rounds(1.0)
    assert world.bench.read(world.done).state == "expired"
    assert world.manager.questions.all() == []
    assert world.bench.run("SELECT who, outcome FROM audit WHERE what = 'agree'")[0].who == "operator"


def test_an_agreement_counts_for_one_step_and_none_before_it(world):
    world.step(DAYS)
    world.rounds(1.0)
    world.manager.questions.agree(CLOCK)
    world.step(HOUR)
    world.rounds(30.0)
    assert world.bench.read(world.done).state == "succeeded"
    assert world.manager.questions.agree("quarantine") is None


@STEPS
def test_a_dead_schedulers_tickets_are_taken_back_a_few_leases_after_a_step(world, step):
    """Also where its lease seems to run for another hour."""
    world.rounds(50.0)
    world.step(step)
    world.rounds(15.0, alive=False)
    assert world.bench.read(world.running).state == "running"
    world.manager.connected_at = -1e9
    world.rounds(20.0, alive=False)
    row = world.bench.read(world.running)
    assert (row.state, row.attempts) == ("submitted", 1)


@STEPS
def test_a_lane_claims_again_once_its_lease_is_renewed(world, step):
    world.step(step)
    assert world.lane.claim(["Add-1"]) is None, "its lease seems to have run out, or to be nobody's"
    assert world.bench.sources.renew(world.lane.lease)
    assert world.lane.claim(["Add-1"]) is not None
    assert world.lane.succeed(world.running, sha256="0" * 64, size_bytes=1, seconds=1.0)


@STEPS
def test_nobody_takes_a_living_holders_source_because_of_a_step(world, step, monkeypatch):
    """One who waits for it goes by its own clock."""
    own = 0.0
    monkeypatch.setattr("tomaat.tickets.source_store.time.monotonic", lambda: own)
    waiting = SourceStore(world.clock.database, lease_seconds=LEASE)
    name = world.lane.lease.name
    assert take_lease(waiting, name) is None
    world.step(step)
    for _ in range(20):
        own += LEASE / 5
        assert world.bench.sources.renew(world.lane.lease)
        world.clock.pass_seconds(LEASE / 5)
        assert take_lease(waiting, name) is None
    own += LEASE - 0.1
    assert take_lease(waiting, name) is None
    own += 0.2
    taken = take_lease(waiting, name)
    assert taken is not None, "it was silent for a lease"
    assert taken.epoch > world.lane.lease.epoch


def test_a_lease_that_is_renewed_at_the_last_moment_is_not_taken(world):
    sources, name = world.bench.sources, world.lane.lease.name
    last = sources.last_holder(name)
    world.pass_seconds(1.0)
    assert sources.renew(world.lane.lease)
    assert sources.take(name, "b", dead_holder=last.holder, seen=last.expires) is None


def test_a_lease_that_was_given_back_is_taken_at_once_whatever_the_clock(world):
    world.bench.sources.release(world.lane.lease)
    world.step(-HOUR)
    assert take_lease(SourceStore(world.clock.database, lease_seconds=LEASE), world.lane.lease.name) is not None


def test_a_server_that_starts_in_the_future_spares_nobody(world):
    """PostgreSQL started before its clock was set back: that time is none to wait for."""
    world.clock.run("UPDATE controlled.clock SET started = now + interval '1 hour'")
    world.bench.lapse(world.lane.lease.name)
    assert world.bench.manager.take_back(settled=True, attempts=9) == [(world.running.id, "submitted")]


def test_a_manager_that_was_away_for_long_trusts_the_clock_only_after_a_while(world):
    world.manager.close()
    world.step(DAYS)  # nobody saw it
    world.manage()
    world.rounds(500.0)
    assert world.bench.read(world.done).state == "succeeded"
    world.rounds(200.0)
    assert world.bench.read(world.done).state == "expired"


def test_a_deletion_that_a_client_asked_for_waits_for_no_clock(world):
    world.step(DAYS)
    world.rounds(1.0)
    world.bench.web.cancel(world.done)
    world.rounds(1.0)
    assert not world.folder.path.exists()


def test_files_of_an_expired_ticket_stay_while_the_clock_is_not_steady(world):
    """An operator who sees the step in time can still have the results back."""
    world.rounds(1.0)
    ages, store = world.manager._for_ages, world.bench.manager
    (expired,) = store.expire(retention_hours=0, fetched_grace_seconds=None)
    assert store.removable(retention_hours=1, keep_input=False, within=ages) == [expired]
    world.step(DAYS)
    assert store.removable(retention_hours=1, keep_input=False, within=ages) == []
    world.rounds(10.0)
    assert world.folder.path.exists()


def test_the_machines_own_clock_puts_no_folder_away_when_it_is_set(world, monkeypatch):
    stray = world.storage.keep(world.storage.new_incoming())
    world.manager.sweep.strays_at = 0.0
    wall = datetime.now(timezone.utc)
    world.manager.machine.read = lambda: wall
    world.manager.machine.last = None
    world.rounds()
    wall = wall.replace(year=wall.year + 1)
    monkeypatch.setattr("tomaat.manager.sweep.time.time", wall.timestamp)
    world.manager.sweep.strays_at = 0.0
    world.rounds(10.0)
    assert stray.path.exists()
    assert not world.manager._are_steady
