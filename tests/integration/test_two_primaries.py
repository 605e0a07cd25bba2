"""Two databases that were one, after a failover to a replica that lagged: no claim of the one counts in the other."""

from dataclasses import replace

import pytest
import sqlalchemy
import structlog

from tests.integration.conftest import LEASE_SECONDS, Bench
from tests.integration.test_migration_0008 import up_to
from tomaat.database import connect, migrate
from tomaat.scheduling.ends import Ends
from tomaat.storage import Storage
from tomaat.storage.storage import RESULT
from tomaat.tickets.lane_store import LaneStore, Success
from tomaat.tickets.source_store import Lease, SourceStore

RESULT_ROW = {"sha256": "0" * 64, "size_bytes": 8, "seconds": 1.0}
SOURCES = ("here/gpu-0", "here/gpu-1")


class Primaries:
    """A former primary and the one that came of a dump of it; both have the ticket in the queues of both sources."""

    def __init__(self, make_database, storage):
        self.storage = storage
        url = make_database()
        database = connect(url, deadline_seconds=30)
        migrate(database)
        bench = Bench(database)
        for name in SOURCES:
            bench.source(name)
        folder = storage.keep(storage.new_incoming())
        self.ticket = bench.web.submit(bench.new_ticket(folder=folder.name))
        database.dispose()
        other = make_database()
        name, copy = (sqlalchemy.make_url(each).database for each in (url, other))
        admin = connect(sqlalchemy.make_url(url).set(database="postgres").render_as_string(False), deadline_seconds=30)
        with admin.connect() as connection:
            connection.execute(sqlalchemy.text(f"DROP DATABASE {copy}"))
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {copy} TEMPLATE {name}"))
        admin.dispose()
        self.benches = [Bench(connect(each, deadline_seconds=30)) for each in (url, other)]

    def lane(self, bench, name, *, take=False):
        """A lane of the lease that both know, or of one that is taken again."""
        if take:
            lease = bench.sources.take(name, "a")
            bench.offer(lease, "Add")
        else:
            row = bench.run("SELECT holder, epoch FROM leases WHERE name = :n", n=name)[0]
            lease = Lease(name=name, holder=row.holder, epoch=row.epoch)
            assert SourceStore(bench.database, lease_seconds=LEASE_SECONDS).renew(lease)
        return LaneStore(bench.database, lease, bench.hints.append)

    def claim(self, bench, lane):
        bench.queue(self.ticket, lane.lease.name)
        ticket = lane.claim(["Add-1"])
        assert (ticket.id, ticket.claim) == (self.ticket.id, 1)
        out = self.storage.folder_of(ticket.folder).claim(ticket.out)
        out.mkdir(parents=True)  # else the folder was given out twice
        (out / RESULT).write_text(lane.lease.name)
        return ticket, out


@pytest.fixture
def primaries(make_database, tmp_path):
    storage = Storage(tmp_path / "storage")
    storage.prepare()
    made = Primaries(make_database, storage)
    yield made
    for bench in made.benches:
        bench.database.dispose()


@pytest.mark.parametrize("take", [False, True], ids=["the same leases", "taken again"])
@pytest.mark.parametrize("second", SOURCES)
def test_a_claim_of_the_one_writes_elsewhere_and_ends_nothing_in_the_other(primaries, second, take):
    """Also where a source, an epoch and a number of a claim are the same in both."""
    old, new = primaries.benches
    former, lane = primaries.lane(old, SOURCES[0], take=take), primaries.lane(new, second, take=take)
    late, late_out = primaries.claim(old, former)
    claimed, out = primaries.claim(new, lane)
    assert late_out != out
    if second == SOURCES[0]:
        assert (late.claim, late.epoch, late.source) == (claimed.claim, claimed.epoch, claimed.source)
    reconnected = LaneStore(new.database, former.lease, new.hints.append)
    assert reconnected.look(late) is None
    assert reconnected.report(late, 0.5, "x") is None
    assert not reconnected.succeed(late, **RESULT_ROW)
    assert not reconnected.fail(late, {})
    assert not reconnected.put_back(late)
    assert reconnected.give_up_attempt(late, attempts=3, error={}) is None
    assert new.read(claimed).state == "running"
    assert lane.succeed(claimed, **RESULT_ROW)
    assert not reconnected.succeed(late, **RESULT_ROW), "that another claim succeeded is no success of this one"
    done = new.read(claimed)
    assert primaries.storage.result_of(done.folder, done.out).read_text() == second


def succeed(lane, ticket, folder):
    """Complete a ticket as its lane does."""
    end = Success(ticket=ticket, **RESULT_ROW)
    kept = lane.succeed_all([end])
    Ends(lane, structlog.get_logger(), attempts=3).note_success(end, folder, kept=ticket.id in kept)


def test_an_end_in_the_one_removes_no_folder_of_the_other(primaries):
    old, new = primaries.benches
    former, lane = primaries.lane(old, SOURCES[0]), primaries.lane(new, SOURCES[1])
    late, late_out = primaries.claim(old, former)
    claimed, out = primaries.claim(new, lane)
    for store, ticket, folder in ((lane, claimed, out), (former, late, late_out)):
        succeed(store, ticket, folder)
    done = new.read(claimed)
    assert primaries.storage.result_of(done.folder, done.out).read_text() == SOURCES[1]


def test_a_lane_of_another_source_ends_nothing_even_under_the_same_epoch(bench):
    lane = bench.source("here/gpu-0")
    ticket = bench.claimed(lane)
    other = LaneStore(bench.database, replace(lane.lease, name="here/gpu-1"), bench.hints.append)
    assert not other.succeed(ticket, **RESULT_ROW)
    assert not other.put_back(ticket)
    assert other.look(ticket) is None
    assert lane.look(ticket) is False


def test_the_folders_of_earlier_claims_go_with_a_success(bench, tmp_path):
    lane = bench.source()
    first = bench.claimed(lane)
    out = tmp_path / "out"
    (out / first.out).mkdir(parents=True)
    bench.run("UPDATE tickets SET state = 'submitted', epoch = NULL, source = NULL")
    bench.queue(first, lane.lease.name)
    second = lane.claim(["Add-1"])
    (out / second.out).mkdir()
    succeed(lane, second, out / second.out)
    assert [path.name for path in out.iterdir()] == [second.out]
    assert second.out.startswith("2-")


def test_a_lane_does_not_claim_what_it_still_runs(bench):
    """A failover brought the ticket back into the queue."""
    lane = bench.source()
    running = bench.claimed(lane)
    bench.run("UPDATE tickets SET state = 'submitted', epoch = NULL, source = NULL")
    bench.queue(running, lane.lease.name)
    assert lane.claim(["Add-1"], running=[running.id]) is None
    assert lane.claim(["Add-1"]) is not None


def test_no_two_leases_ever_have_the_same_epoch(bench):
    taken = [bench.sources.take(name, holder) for holder in ("a", "a") for name in ("x", "y", "z")]
    assert len({lease.epoch for lease in taken}) == 6


def test_epochs_go_on_above_those_that_were_given_out_before(database_url, monkeypatch):
    database = connect(database_url, deadline_seconds=30)
    up_to(database, 8, monkeypatch)
    bench = Bench(database)
    bench.run("INSERT INTO leases (name, epoch, holder, expires) VALUES ('x', 41, 'a', '-infinity')")
    migrate(database)
    assert bench.sources.take("y", "b").epoch > 41
    database.dispose()
