"""Every way that one ticket can go with two workers, a rescuer and a client who gives up, on the real statements."""

from collections import deque
from dataclasses import dataclass, replace

import pytest

from tests.integration.controlled_clock import ControlledClock
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.manager_store import ManagerStore
from tomaat.tickets.queue import Misfit, Placement
from tomaat.tickets.source_store import Lease, SourceStore
from tomaat.tickets.states import (
    CANCELLED,
    EXPIRED,
    FAILED,
    MANAGER,
    MOVES,
    RESTORE,
    RUNNING,
    SCHEDULER,
    SUCCEEDED,
    WEB,
)
from tomaat.tickets.ticket_store import NewTicket, TicketStore

LEASE = 10.0
ATTEMPTS = 2
MOST_CLAIMS = 2
SOURCE = "here/gpu-0"
WORKERS = {"a": 1, "b": 2}  #: holder → the epoch under which it holds the source
PERMITTED = {(move.before, move.after, move.door) for move in MOVES if move.door != RESTORE}


@dataclass(frozen=True, kw_only=True)
class World:
    """All that decides what happens next: the row, who holds the source, which claim each worker believes to have."""

    state: str = "submitted"
    claim: int = 0
    epoch: int | None = None
    attempts: int = 0
    cancel_requested: bool = False
    delete_requested: bool = False
    completed_by: int | None = None  #: the claim whose completion was accepted
    holder: str = "a"
    live: bool = True
    believes: tuple[tuple[int, int] | None, tuple[int, int] | None] = (None, None)  #: of a and b: claim, epoch


class Walk:
    """Sets the database to a world, does one thing, and reads the world afterwards."""

    def __init__(self, clock):
        self.clock = clock
        self.hint = lambda _channel: None
        self.web = TicketStore(clock.database, self.hint)
        self.manager = ManagerStore(clock.database, self.hint, lease_seconds=LEASE)
        self.sources = SourceStore(clock.database, lease_seconds=LEASE)
        lease = self.sources.take(SOURCE, "a")
        self.sources.describe(lease, device_name="GPU", memory_bytes=None, problem=None)
        self.sources.offer(lease, [{"service": "Add", "interface_hash": "h", "offer": {}}])
        self.ticket = self.web.submit(NewTicket(token_hash=b"t" * 32, service="Add", interface_hash="h", folder="f"))
        self.ended = None

    def lane(self, worker):
        return LaneStore(self.clock.database, Lease(name=SOURCE, holder=worker, epoch=WORKERS[worker]), self.hint)

    def set(self, world):
        ended = world.state in {SUCCEEDED, FAILED, CANCELLED, EXPIRED}
        self.clock.run(
            """SET LOCAL session_replication_role = replica;  -- no door makes this move
               UPDATE tickets SET state = :state, claim = :claim, epoch = :epoch, attempts = :attempts,
                 claim_folder = CASE WHEN :claim > 0 THEN 'of-' || CAST(:claim AS text) END,
                 cancel_requested = :cancel_requested, delete_requested = :delete_requested,
                 source = CASE WHEN :state = 'submitted' THEN NULL ELSE :source END,
                 finished = CASE WHEN :ended THEN clock_timestamp() END,
                 result_sha256 = CASE WHEN :state IN ('succeeded', 'expired') THEN 'x' END,
                 result_bytes = CASE WHEN :state IN ('succeeded', 'expired') THEN 1 END""",
            state=world.state,
            claim=world.claim,
            epoch=world.epoch,
            attempts=world.attempts,
            cancel_requested=world.cancel_requested,
            delete_requested=world.delete_requested,
            source=SOURCE,
            ended=ended,
        )
        self.clock.run(
            """UPDATE leases SET holder = :h, epoch = :e, seconds = 1e6,
                 expires = clock_timestamp() + make_interval(secs => :s)""",
            h=world.holder,
            e=WORKERS[world.holder],
            s=LEASE if world.live else -1,
        )

    def after(self, world):
        row = self.clock.run("SELECT * FROM tickets")[0]
        return replace(
            world,
            state=row.state,
            claim=row.claim,
            epoch=row.epoch,
            attempts=row.attempts,
            cancel_requested=row.cancel_requested,
            delete_requested=row.delete_requested,
        )

    def copy(self, believed):
        """A worker's own idea of the ticket."""
        claim, epoch = believed
        folder = f"of-{claim}" if claim else None
        return replace(self.ticket, claim=claim, claim_folder=folder, epoch=epoch, state=RUNNING, source=SOURCE)

    # What may happen: each gives the door and the world afterwards, or nothing where it does not apply

    def steps(self, world):
        yield "queue", MANAGER, self.queue
        yield "take back", MANAGER, self.take_back
        yield "unqueue", MANAGER, self.unqueue
        yield "find it fits nowhere", MANAGER, self.find_unfit
        yield "expire", MANAGER, self.expire
        yield "give up", WEB, self.give_up
        if world.live:
            yield "lapse", None, self.lapse
        elif world.holder == "a":
            yield "take over", None, self.take_over
        for number, worker in enumerate(WORKERS):
            if world.claim < MOST_CLAIMS:
                yield f"{worker} claims", SCHEDULER, lambda w, n=number, who=worker: self.claim(w, n, who)
            if world.believes[number] is not None:
                for end in ("succeed", "fail", "cancelled", "put_back", "outgrow", "die"):
                    yield (
                        f"{worker} {end}",
                        SCHEDULER,
                        lambda w, n=number, who=worker, how=end: self.finish(w, n, who, how),
                    )

    def queue(self, world):
        self.manager.assign([Placement(ticket=self.ticket.id, from_source=None, to_source=SOURCE)])
        return self.after(world)

    def take_back(self, world):
        self.manager.take_back(settled=True, attempts=ATTEMPTS)
        return self.after(world)

    def unqueue(self, world):
        self.manager.unqueue_stranded(settled=True)
        return self.after(world)

    def find_unfit(self, world):
        self.manager.fail_unfit(Misfit(service="Add", interface_hash="h", needed_bytes=2, largest_bytes=1))
        return self.after(world)

    def expire(self, world):
        self.manager.expire(retention_hours=1.0, fetched_grace_seconds=None)
        return self.after(world)

    def give_up(self, world):
        self.web.cancel(self.ticket)
        return self.after(world)

    def lapse(self, world):
        return replace(world, live=False)

    def take_over(self, world):
        assert self.sources.take(SOURCE, "b") is not None
        return replace(self.after(world), holder="b", live=True)

    def claim(self, world, number, worker):
        ticket = self.lane(worker).claim(["h"])
        after = self.after(world)
        if ticket is None:
            assert after == world
            return world
        assert world.live, "nobody claims under a lease that ran out"
        assert world.holder == worker, "nobody claims under somebody else's lease"
        believes = list(world.believes)
        believes[number] = (ticket.claim, ticket.epoch)
        return replace(after, believes=tuple(believes))

    def finish(self, world, number, worker, how):
        lane, ticket = self.lane(worker), self.copy(world.believes[number])
        mine = (world.state, world.claim, world.epoch) == (RUNNING, ticket.claim, ticket.epoch)
        if how == "cancelled" and mine and not world.cancel_requested:
            return world
        if how == "succeed":
            accepted = lane.succeed(ticket, sha256="x", size_bytes=1, seconds=1.0)
            again = (world.completed_by, world.state) == (ticket.claim, SUCCEEDED)
            assert accepted == (mine or again)
            after = self.after(world)
            return replace(after, completed_by=ticket.claim) if mine else after
        if how == "fail":
            lane.fail(ticket, {})
        elif how == "cancelled":
            lane.cancelled(ticket)
        elif how == "put_back":
            assert lane.put_back(ticket) == mine
        elif how == "outgrow":
            assert (lane.outgrow(ticket, 1, {}) is not None) == mine
        else:
            assert (lane.give_up_attempt(ticket, attempts=ATTEMPTS, error={}) is not None) == mine
        after = self.after(world)
        believes = list(world.believes)
        believes[number] = None
        return replace(after, believes=tuple(believes))


def check(before, after, name, door):
    """What must hold of every step."""
    if before.state != after.state:
        assert (before.state, after.state, door) in PERMITTED, name
    assert after.claim >= before.claim, "the claim number never goes back"
    assert after.attempts >= before.attempts
    if before.completed_by is not None:
        assert after.completed_by == before.completed_by, "completed once"
        assert after.state in {SUCCEEDED, EXPIRED}
    if after.state == SUCCEEDED:
        assert after.completed_by == after.claim, "the row names the claim whose result it is"


@pytest.mark.slow
def test_every_way_of_a_ticket_is_lawful(make_database):
    clock = ControlledClock(make_database())
    walk = Walk(clock)
    seen, ahead, moves = {World()}, deque([World()]), set()
    while ahead:
        world = ahead.popleft()
        for name, door, step in walk.steps(world):
            walk.set(world)
            after = step(world)
            check(world, after, name, door)
            if world.state != after.state:
                moves.add((world.state, after.state, door))
            if after not in seen:
                seen.add(after)
                ahead.append(after)
    clock.database.dispose()
    assert len(seen) > 100, len(seen)
    elsewhere = {(None, "submitted", WEB), (None, "queued", WEB), ("queued", "queued", MANAGER)}
    waited = {("queued", "failed", MANAGER)}
    assert moves == PERMITTED - elsewhere - waited, "every lawful move was seen, and no other"
