"""Lets a lane claim only what fits into the device's memory beside what the other lanes perform."""

from __future__ import annotations

import time
from collections.abc import Callable

from tomaat.scheduling.beside import Beside
from tomaat.scheduling.running_tickets import RunningTicket, RunningTickets
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.ticket import Ticket

MOST_CLAIMS = 10  #: of a ticket, after which nobody but itself counts as the cause that it runs out of memory
ASK_SECONDS = 1.0  #: between two times that the others are asked
ROOM_SECONDS = 5.0  #: in which lanes that perform nothing let their networks go; then a ticket starts all the same


class ClaimsInTurn:
    """Used by the lane's thread. Where memory is ample it does nothing; else the lanes of a source claim in turn.

    Then the first ticket is not overtaken, be it one that only an idle lane of another environment can run.
    """

    def __init__(self, store: LaneStore, keeper: WorkerKeeper, running: RunningTickets, beside: Beside) -> None:
        self.store = store
        self.keeper = keeper
        self.running = running
        self.beside = beside
        self.blocked_at: float | None = None  #: since when a ticket waits for memory though nobody performs
        self.ask_at = 0.0  #: when the other lanes may be asked again to let their networks go

    @property
    def are_needless(self) -> bool:
        """Whether any ticket may start, whatever the other lanes perform."""
        return self.beside.is_ample and not self.beside.crowded

    def claim(self, claim: Callable[..., Ticket | None]) -> Ticket | None:
        """Claim, if the ticket that is next may start now; it waits otherwise, and so do those behind it."""
        if self.are_needless:
            return claim()
        if not self.beside.take_turn():
            return None
        admitted = [name for name in self.keeper.offering.offers if self._admits(name)]
        not_now = self.beside.crowded if not self._starts_alone() else set()
        ticket = None
        try:
            if admitted:
                hashes = [self.keeper.offering.offers[name].interface_hash for name in admitted]
                ticket = claim(only_of=hashes, not_now=not_now, behind=self.beside.hashes_of_idle)
            if ticket is not None:
                self._tell(ticket)
        finally:
            self.beside.end_turn()
        if ticket is None and (not_now or len(admitted) < len(self.keeper.offering.offers)):
            self._ask_for_room()
        return ticket

    def begin(self, run: RunningTicket) -> None:
        """Tell the other lanes what is performed here from now on."""
        self._tell(run.ticket)
        run.was_alone, run.begun_beside = self.beside.is_alone, self.beside.begun
        self.blocked_at = None

    def _tell(self, ticket: Ticket) -> None:
        if self.beside.own.performs is None:
            alone = ticket.id in self.beside.crowded
            begun = self.beside.own.begun + 1
            self.beside.tell(performs=ticket.service, expects_bytes=None, alone=alone, begun=begun)
            self.keeper.offering.hold(ticket.service)

    def end(self) -> None:
        """Tell the other lanes that nothing is performed here, if that is so; let networks go that are in their way."""
        if self.running.hold_device:
            self.beside.is_asked_for_room()  # it is asked again, if need be
            return
        if self.beside.own.performs is not None:
            self.beside.tell(performs=None, expects_bytes=None, alone=False)
        if self.beside.is_asked_for_room():
            self.keeper.make_room()

    def was_crowded(self, run: RunningTicket) -> bool:
        """Tell whether a ticket that ran out of memory had a neighbour, and so may run alone; not over and over."""
        had_neighbour = not run.was_alone or self.beside.begun != run.begun_beside
        return had_neighbour and run.ticket.claim <= MOST_CLAIMS and self.beside.note_crowded(run.ticket.id)

    def _admits(self, service: str) -> bool:
        return self.beside.admits(service) or (self._waited_for_room() and self.beside.admits(service, beside=()))

    def _starts_alone(self) -> bool:
        return self.beside.is_alone or self._waited_for_room()

    def _waited_for_room(self) -> bool:
        """Whether nobody performs, and the others had the time to let their networks go."""
        waited = self.blocked_at is not None and time.monotonic() - self.blocked_at > ROOM_SECONDS
        return waited and not self.beside.performing

    def _ask_for_room(self) -> None:
        """Let the lanes that perform nothing make room for the next ticket, where that helps it to start."""
        if time.monotonic() < self.ask_at:
            return
        self.ask_at = time.monotonic() + ASK_SECONDS
        offering = self.keeper.offering
        ticket = self.store.next_queued(offering.interface_hashes, running=self.running.ids)
        if ticket is None or self.beside.performing:
            self.blocked_at = None
        else:
            self.blocked_at = self.blocked_at or time.monotonic()
        if ticket is not None and self._would_start(ticket) and self.beside.is_next_for(ticket.service):
            self.beside.ask_for_room()

    def _would_start(self, ticket: Ticket) -> bool:
        """Tell whether a ticket waits only for what lanes hold that perform nothing."""
        performing = self.beside.performing
        if ticket.id in self.beside.crowded:
            return not performing
        return not self.beside.admits(ticket.service) and self.beside.admits(ticket.service, beside=performing)
