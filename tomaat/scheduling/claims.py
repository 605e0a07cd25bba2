"""Takes tickets of one source's queue: one to run, and the next one only to be read."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.messages import Forget, Perform, ReadAhead
from tomaat.scheduling.beside import Beside
from tomaat.scheduling.claims_in_turn import ClaimsInTurn
from tomaat.scheduling.ends import Fail, PutBack
from tomaat.scheduling.running_tickets import RunningTicket, RunningTickets
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore, Success
from tomaat.tickets.problems import deadline_passed
from tomaat.tickets.ticket import Ticket


class Claims:
    """Used by the lane's thread."""

    def __init__(
        self,
        source: str,
        store: LaneStore,
        storage: Storage,
        keeper: WorkerKeeper,
        running: RunningTickets,
        *,
        log: FilteringBoundLogger,
        look_seconds: float,
        beside: Beside,
    ) -> None:
        self.turns = ClaimsInTurn(store, keeper, running, beside)
        self.beside = beside
        self.overtook = False  #: the last claim took a ticket behind one that another lane's worker reads
        self.source = source
        self.store = store
        self.storage = storage
        self.keeper = keeper
        self.running = running
        self.log = log
        self.look_seconds = look_seconds  #: between two looks for a ticket that runs and nobody here knows
        self.look_at = 0.0
        self.may_wait = True  #: a ticket, in this queue, as far as is known
        self.looked = False  #: the store knows which ticket waits next
        self.told_idle = False  #: the manager knows that nothing runs here, and nothing waits
        self.outcome_unknown = False  #: of the last claim
        self.abandoned: list[int] = []  #: tickets that run by their rows, whose end cannot be written

    def claim(self) -> list[RunningTicket]:
        """Claim the first ticket that the worker can run, if one may wait.

        There are several only where a claim of unknown outcome took them.
        """
        if not (self.may_wait or self.outcome_unknown):
            return []
        try:
            tickets = self._claim()
        except DatabaseUnavailable as error:
            if not self.outcome_unknown:
                self.log.warning("database.lost", reason=str(error))
            self.outcome_unknown = True
            return []
        return self._begin(tickets)

    @property
    def can_be_joined(self) -> bool:
        """Whether the next ticket may be claimed in the statement that completes another one."""
        known = self.may_wait and not self.outcome_unknown and time.monotonic() < self.look_at
        return known and self.turns.are_needless

    def succeed_and_claim(self, ends: Sequence[Success], *, most: int) -> tuple[set[int], list[RunningTicket]]:
        """Complete tickets that run here, and claim the next one, or ``most`` brief ones; see ``LaneStore``."""
        reserved = self._reserved()
        wish = self._wish([*self.running.ids, *reserved])
        self.outcome_unknown = True
        any_kind = not self.running.hold_device
        kept, tickets = self.store.succeed_and_claim(ends, **wish, most=most, any_kind=any_kind)
        self.outcome_unknown = False
        self._note_claimed(tickets[-1] if tickets else None, reserved)
        self.may_wait |= not tickets and bool(reserved)
        return kept, self._begin(tickets)

    def _begin(self, tickets: Sequence[Ticket]) -> list[RunningTicket]:
        """Make claimed tickets running ones, and wake the lanes that are concerned."""
        if not tickets:
            self.beside.wake_idle()  # it may be able to run what this one cannot
            return []
        if self.store.next is not None:
            if self.told_idle or not self.running:
                self.store.tell_more_waits()
            if not self.beside.wake_idle():
                self.beside.wake_all()
        self.told_idle = False
        for other in self.running:
            other.relieve()
        return [self._begun(ticket) for ticket in tickets]

    def _begun(self, ticket: Ticket) -> RunningTicket:
        self.log.debug("ticket.claimed", ticket=ticket.id, service=ticket.service, claim=ticket.claim)
        run = RunningTicket(ticket, self.storage.folder_of(ticket.folder).claim(ticket.out))
        self.turns.begin(run)
        return run

    def tell_idle(self, *, after: Sequence[RunningTicket] = ()) -> None:
        """Tell the manager, once, that this source has nothing to do, or will not ``after`` tickets that end now."""
        if not self.told_idle and not self.may_wait and all(run in after for run in self.running):
            self.store.ask_for_work(after_end=bool(after))
            self.told_idle = True

    def recover(self) -> list[RunningTicket]:
        """Begin what a claim of unknown outcome took, though the device is not free."""
        try:
            return self._begin(self._left_running())
        except DatabaseUnavailable:
            return []

    def _left_running(self) -> list[Ticket]:
        left = self.store.left_running(known=[*self.running.ids, *self.abandoned])
        self.outcome_unknown = False
        self.look_at = time.monotonic() + self.look_seconds  # a claim of unknown outcome may be made later still
        return left

    def _claim(self) -> list[Ticket]:
        if self.outcome_unknown or time.monotonic() >= self.look_at:
            left = self._left_running()
            if left:
                return left
        ticket = self.turns.claim(self._claim_next)
        return [] if ticket is None else [ticket]

    def _claim_next(self, **guards: Any) -> Ticket | None:
        """Claim the ticket that the worker has read, though others read earlier ones: these wait for one at most.

        Else it is the first one, always so with ``guards``: that may be waiting for memory.
        """
        reserved = {} if guards else self._reserved()
        ticket = self._claim_oldest([*self.running.ids, *reserved], **guards)
        if ticket is None and reserved:
            reserved, ticket = {}, self._claim_oldest(self.running.ids, **guards)
        self._note_claimed(ticket, reserved)
        return ticket

    def _reserved(self) -> dict[int, int]:
        """Tell which earlier tickets may be left to the lanes whose workers read them, and their places in order."""
        return {} if self.keeper.ahead is None or self.overtook else self.beside.reserved

    def _note_claimed(self, ticket: Ticket | None, reserved: Mapping[int, int]) -> None:
        self.overtook = ticket is not None and any(order < ticket.queue_order for order in reserved.values())
        self._note_look()

    def _claim_oldest(
        self, left_alone: Collection[int], *, behind: Collection[str] = (), **guards: Any
    ) -> Ticket | None:
        """Claim the first ticket, none that waits behind an earlier one of the interfaces in ``behind``."""
        wish = self._wish(left_alone)
        if behind:
            wish["interface_hashes"] = list({*wish["interface_hashes"], *behind})
        return self.store.claim(**wish, **guards)

    def _wish(self, left_alone: Collection[int]) -> dict[str, Any]:
        """Tell which tickets may be claimed now, but those that are ``left_alone``."""
        offering = self.keeper.offering
        return {
            "interface_hashes": offering.interface_hashes,
            "beside_another": bool(self.running.in_worker) or (not offering.complete and self.keeper.suspects.in_doubt),
            "running": left_alone,
            "brief": [offering.offers[name].interface_hash for name in self.running.brief if name in offering.offers],
        }

    def hand_over(self, run: RunningTicket) -> None:
        """Let the worker read, perform and pack a claimed ticket; one that it does not offer is put back.

        Raises ``OSError`` without a folder.
        """
        ticket = run.ticket
        offered = self.keeper.offering.offers.get(ticket.service)
        if offered is None or offered.interface_hash != ticket.interface_hash:
            run.end_as(PutBack())
            return
        self.storage.make_claim_folder(run.out)
        inputs = self.storage.lend_input(ticket.folder)
        self._note_ahead(None)
        if self.running.first is run:
            self.keeper.count_output(ticket.id)  # before it can print
        self.keeper.tell(
            Perform(
                key=run.key,
                service=ticket.service,
                inputs=inputs,
                out=run.out,
                source=self.source,
            )
        )

    def give_turn(self, run: RunningTicket) -> None:
        """Count from now on what a ticket may take: those behind it have to wait for it."""
        run.begin_turn()
        self.keeper.count_output(run.ticket.id)
        offered = self.keeper.offering.offers.get(run.ticket.service)
        if offered is not None:
            seconds = offered.offer["deadline_seconds"]
            run.limits.allow(seconds, Fail(problem=deadline_passed(run.ticket.service, seconds), reason="deadline"))

    def look_ahead(self) -> None:
        """Look which ticket waits next, where one may, and let the worker read it while it is busy."""
        if self.outcome_unknown or self.looked:
            return
        left_alone = [*self.running.ids, *self.beside.reserved]
        former = self.store.next
        try:
            found = self.store.next_queued(self.keeper.offering.interface_hashes, running=left_alone)
        except DatabaseUnavailable:
            return
        if found is not None and former is None:
            self.store.tell_more_waits()
        self._note_look()
        self.read_ahead()

    def note_news(self, *, forget: bool = False) -> None:
        """Note that a ticket may wait here by now; ``forget`` the one that waited next, which may be gone.

        Else that one still waits, and nobody need look: one that came before it is claimed first all the same.
        """
        self.looked &= self.store.next is not None and not forget
        self.may_wait = True

    def _note_look(self) -> None:
        self.may_wait, self.looked = self.store.next is not None, True

    def read_ahead(self) -> None:
        """Let the worker read, while it is busy, the ticket that waits next; this claims nothing.

        Nothing is read beside a ticket that runs alone, nor is such a ticket. What another lane's worker reads is left
        to it.
        """
        if self.outcome_unknown:
            return
        if self.store.next is not None and self.store.next.id in self.beside.reserved:
            self.looked = False
            return
        ticket = self.store.next if self.running and not self.running.need_no_neighbour else None
        if ticket is not None and ticket.interface_hash not in self.keeper.offering.interface_hashes:
            self.looked = False  # it is another lane's; one of its own may wait behind it
            return
        if ticket is not None and ticket.claim == 0:
            if self.keeper.ahead != ticket.id:
                try:
                    inputs = self.storage.lend_input(ticket.folder)
                except OSError:
                    return  # it is gone, or its claim will tell why it cannot be read
                self.keeper.tell(ReadAhead(service=ticket.service, inputs=inputs))
                self._note_ahead(ticket)
        elif self.keeper.ahead is not None:
            self.keeper.tell(Forget())
            self._note_ahead(None)

    def _note_ahead(self, ticket: Ticket | None) -> None:
        """Note, and tell the other lanes, which waiting ticket the worker reads."""
        self.keeper.ahead = None if ticket is None else ticket.id
        if self.beside.own.ahead or ticket:
            self.beside.tell(ahead=None if ticket is None else (ticket.id, ticket.queue_order))
