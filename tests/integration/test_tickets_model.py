"""The real stores on the real PostgreSQL against a model in Python: whatever happens, in whichever order.

Holders are paused, lose their leases, come back late; clients give up; PostgreSQL restarts. After each step every row
is what the model says. That every single change is lawful is ``test_tickets_walk``'s to see.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.integration.controlled_clock import ControlledClock
from tomaat.manager.choosing import assign, rebalance
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.manager_store import ManagerStore
from tomaat.tickets.operator_store import OperatorStore
from tomaat.tickets.source_store import Lease, SourceStore
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, QUEUED, RUNNING, SUBMITTED, SUCCEEDED
from tomaat.tickets.ticket_store import NewTicket, TicketStore

LEASE = 10.0
RETENTION = 1000.0
SOURCES = ("here/gpu-0", "here/gpu-1")
HOLDERS = ("a", "b", "c")
ROWS = """SELECT id, state, source, claim, epoch, attempts, cancel_requested, delete_requested, inputs_kept
          FROM tickets"""


@dataclass
class Row:
    """What the model knows of a ticket."""

    state: str = SUBMITTED
    source: str | None = None
    claim: int = 0
    epoch: int | None = None
    attempts: int = 0
    cancel_requested: bool = False
    delete_requested: bool = False
    inputs_kept: bool = False
    finished: float | None = None
    completions: list[int] = field(default_factory=list)

    def visible(self):
        return (
            *(self.state, self.source, self.claim, self.epoch, self.attempts),
            *(self.cancel_requested, self.delete_requested, self.inputs_kept),
        )


@dataclass
class Held:
    """What the model knows of a lease."""

    holder: str
    epoch: int
    expires: float


class Tickets(RuleBasedStateMachine):
    """The rules: what clients, the manager, lanes, workers and PostgreSQL may do."""

    clock: ControlledClock
    lanes = Bundle("lanes")
    claims = Bundle("claims")
    tickets = Bundle("tickets")

    @initialize(attempts=st.sampled_from([1, 2]))
    def begin(self, attempts):
        self.attempts = attempts
        self.clock.run("TRUNCATE tickets, leases, compute_sources, offers, durations RESTART IDENTITY")
        database, hint = self.clock.database, lambda _channel: None
        self.hint = hint
        self.web = TicketStore(database, hint)
        self.manager = ManagerStore(database, hint, lease_seconds=LEASE)
        self.sources = SourceStore(database, lease_seconds=LEASE)
        self.operator = OperatorStore(database, hint)
        self.drained: set[str] = set()
        self.rows: dict[int, Row] = {}
        self.leases: dict[str, Held] = {}
        self.connected = self.clock.now
        self.folders = 0

    # What the model says

    def live(self, name):
        return name in self.leases and self.leases[name].expires > self.clock.now

    def usable(self):
        return {name for name in SOURCES if self.live(name) and name not in self.drained}

    def spared(self):
        """Nobody is declared dead now: the manager or PostgreSQL is young."""
        return not self.settled() or self.clock.now < self.clock.started + LEASE

    def settled(self):
        return self.clock.now - self.connected > LEASE

    def holds(self, lane):
        held = self.leases[lane.lease.name]
        return (held.holder, held.epoch) == (lane.lease.holder, lane.lease.epoch)

    def is_mine(self, ticket):
        row = self.rows[ticket.id]
        return (row.state, row.claim, row.epoch) == (RUNNING, ticket.claim, ticket.epoch)

    def end(self, row, state):
        row.state, row.finished = state, self.clock.now

    def lose_attempt(self, row):
        row.attempts += 1
        row.epoch = None
        if row.cancel_requested:
            self.end(row, CANCELLED)
        elif row.attempts >= self.attempts:
            self.end(row, FAILED)
        else:
            row.state, row.source = SUBMITTED, None

    # Clients

    @rule(target=tickets)
    def submit(self):
        self.folders += 1
        ticket = self.web.submit(
            NewTicket(token_hash=b"t" * 32, service="Add", interface_hash="h", folder=str(self.folders))
        )
        self.rows[ticket.id] = Row()
        return ticket

    @rule(ticket=tickets)
    def give_up(self, ticket):
        row = self.rows[ticket.id]
        row.inputs_kept = False
        if row.state == RUNNING:
            row.cancel_requested = True
        else:
            row.delete_requested = True
            if row.state in {SUBMITTED, QUEUED}:
                self.end(row, CANCELLED)
        assert self.web.cancel(ticket).state == row.state

    # An operator

    @rule(ticket=tickets)
    def cancel(self, ticket):
        """Deletes nothing; what its client gave up before keeps no input."""
        row = self.rows[ticket.id]
        if row.state in {SUBMITTED, QUEUED}:
            row.inputs_kept = True
            self.end(row, CANCELLED)
        elif row.state == RUNNING:
            row.inputs_kept |= not row.cancel_requested
            row.cancel_requested = True
        assert self.web.cancel(ticket, operator="anna").state == row.state

    @rule(name=st.sampled_from(SOURCES), drained=st.booleans())
    def drain(self, name, drained):
        change = self.operator.drain if drained else self.operator.resume
        assert change(name, operator="anna") == (name in self.leases)
        if name in self.leases:
            (self.drained.add if drained else self.drained.discard)(name)

    # Holders of compute sources

    @rule(target=lanes, name=st.sampled_from(SOURCES), holder=st.sampled_from(HOLDERS))
    def take(self, name, holder):
        lease = self.sources.take(name, holder)
        held = self.leases.get(name)
        if held is not None and held.holder != holder and held.expires >= self.clock.now:
            assert lease is None
            return LaneStore(self.clock.database, Lease(name=name, holder=holder, epoch=-1), self.hint)
        assert lease is not None
        assert lease.epoch > max((each.epoch for each in self.leases.values()), default=0), "of all sources"
        self.leases[name] = Held(holder, lease.epoch, self.clock.now + LEASE)
        self.sources.describe(lease, device_name="GPU", memory_bytes=None, problem=None)
        offer = {"service": "Add", "interface_hash": "h", "offer": {}}
        self.sources.offer(lease, [offer])
        return LaneStore(self.clock.database, lease, self.hint)

    @rule(lane=lanes)
    def renew(self, lane):
        renewed = self.sources.renew(lane.lease)
        assert renewed == self.holds(lane)
        if renewed:
            self.leases[lane.lease.name].expires = self.clock.now + LEASE

    @rule(target=claims, lane=lanes)
    def claim(self, lane):
        ticket = lane.claim(["h"])
        name = lane.lease.name
        queue = [id for id, row in self.rows.items() if (row.state, row.source) == (QUEUED, name)]
        if not queue or not self.holds(lane) or name not in self.usable():
            assert ticket is None
            return None
        assert ticket.id == min(queue), "the oldest first"
        row = self.rows[ticket.id]
        row.state, row.claim, row.epoch = RUNNING, row.claim + 1, lane.lease.epoch
        return lane, ticket

    @rule(target=claims, name=st.sampled_from(SOURCES), holder=st.sampled_from(HOLDERS))
    def start(self, name, holder):
        """The way that most tickets go, in one step: else few examples would come far."""
        lane = self.take(name, holder)
        self.submit()
        self.queue()
        return self.claim(lane)

    @rule(claim=claims)
    def succeed(self, claim):
        """Late, twice, or by somebody who was given up for dead: one completion counts."""
        if claim is None:
            return
        lane, ticket = claim
        row = self.rows[ticket.id]
        again = row.completions == [ticket.claim] and row.state == SUCCEEDED
        mine = self.is_mine(ticket)
        assert lane.succeed(ticket, sha256="0" * 64, size_bytes=1, seconds=1.0) == (mine or again)
        if mine:
            self.end(row, SUCCEEDED)
            row.completions.append(ticket.claim)

    @rule(claim=consumes(claims))
    def fail(self, claim):
        if claim is None:
            return
        lane, ticket = claim
        mine = self.is_mine(ticket)
        assert lane.fail(ticket, {}) or not mine
        if mine:
            self.end(self.rows[ticket.id], FAILED)

    @rule(claim=consumes(claims))
    def stop_as_asked(self, claim):
        """The lane does so only when the client gave the ticket up."""
        if claim is None or (self.is_mine(claim[1]) and not self.rows[claim[1].id].cancel_requested):
            return
        lane, ticket = claim
        mine = self.is_mine(ticket)
        assert lane.cancelled(ticket) or not mine
        if mine:
            self.end(self.rows[ticket.id], CANCELLED)

    @rule(claim=consumes(claims))
    def put_back(self, claim):
        if claim is None:
            return
        lane, ticket = claim
        row, mine = self.rows[ticket.id], self.is_mine(ticket)
        assert lane.put_back(ticket) == mine
        if mine:
            row.epoch = None
            if row.cancel_requested:
                self.end(row, CANCELLED)
            else:
                row.state, row.source = SUBMITTED, None

    @rule(claim=consumes(claims))
    def lose_worker(self, claim):
        if claim is None:
            return
        lane, ticket = claim
        row, mine = self.rows[ticket.id], self.is_mine(ticket)
        state = lane.give_up_attempt(ticket, attempts=self.attempts, error={})
        if mine:
            self.lose_attempt(row)
        assert state == (row.state if mine else None)

    # The manager

    @rule()
    def queue(self):
        queues = [queue for queue in self.manager.queues() if queue.live]
        assert {queue.source for queue in queues} == self.usable()
        moves = assign(self.manager.read().submitted, queues)
        assert len(self.manager.assign(moves)) == len(moves)
        assert {move.ticket for move in moves} == {
            id for id, row in self.rows.items() if row.state == SUBMITTED and queues
        }
        for move in moves:
            self.rows[move.ticket].state, self.rows[move.ticket].source = QUEUED, move.to_source

    @rule(between=st.booleans(), ticket=tickets)
    def move(self, between, ticket):
        """Between reading and moving somebody may claim, or a client give up."""
        queues = [
            type(queue)(**{**vars(queue), "waiting": self.manager.fronts([queue.source])[queue.source]})
            for queue in self.manager.queues()
            if queue.live
        ]
        moves = rebalance(queues)
        if between:
            self.give_up(ticket)
        moved = self.manager.move(moves)
        still = [
            move
            for move in moves
            if (self.rows[move.ticket].state, self.rows[move.ticket].source) == (QUEUED, move.from_source)
        ]
        assert moved == {move.ticket: move.to_source for move in still}
        for each in still:
            self.rows[each.ticket].source = each.to_source

    @rule()
    def take_back(self):
        lost = {
            id
            for id, row in self.rows.items()
            if row.state == RUNNING
            and (self.leases[row.source].epoch != row.epoch or (not self.live(row.source) and not self.spared()))
        }
        taken = self.manager.take_back(settled=self.settled(), attempts=self.attempts)
        assert {id for id, _ in taken} == lost
        for id in lost:
            self.lose_attempt(self.rows[id])

    @rule()
    def unqueue(self):
        stranded = [
            row
            for row in self.rows.values()
            if row.state == QUEUED
            and ((not self.live(row.source) and not self.spared()) or (row.source in self.drained and self.usable()))
        ]
        assert len(self.manager.unqueue_stranded(settled=self.settled())) == len(stranded)
        for row in stranded:
            row.state, row.source = SUBMITTED, None

    @rule()
    def expire(self):
        due = {
            id
            for id, row in self.rows.items()
            if row.state == SUCCEEDED and (row.delete_requested or self.clock.now - row.finished > RETENTION)
        }
        expired = self.manager.expire(retention_hours=RETENTION / 3600, fetched_grace_seconds=None)
        assert {ended.id for ended in expired} == due
        for id in due:
            self.rows[id].state = EXPIRED

    @rule()
    def reconnect(self):
        self.connected = self.clock.now

    # Time, and PostgreSQL

    @rule(seconds=st.sampled_from([3.0, 6.0, 11.0, 23.0, 1009.0]))
    def pass_time(self, seconds):
        self.clock.pass_seconds(seconds)

    @rule()
    def restart(self):
        self.clock.restart_database()

    @invariant()
    def every_row_is_what_the_model_says(self):
        if not hasattr(self, "rows"):
            return
        found = {row.id: tuple(row)[1:] for row in self.clock.run(ROWS)}
        assert found == {id: row.visible() for id, row in self.rows.items()}

    @invariant()
    def nothing_is_completed_twice(self):
        for row in getattr(self, "rows", {}).values():
            assert len(row.completions) <= 1


@pytest.mark.slow
def test_whatever_happens_the_rows_are_what_the_model_says(make_database):
    Tickets.clock = ControlledClock(make_database())
    try:
        run_state_machine_as_test(
            Tickets,
            settings=settings(
                max_examples=150,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                derandomize=True,
                database=None,
            ),
        )
    finally:
        Tickets.clock.database.dispose()
