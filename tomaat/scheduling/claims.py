"""Takes tickets of one source's queue: one to run, and the next one only to be read."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.messages import Forget, Perform, ReadAhead
from tomaat.scheduling.running_tickets import RunningTicket
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.ticket import Ticket


class Claims:
    """Used by the lane's thread, which knows the tickets that run."""

    def __init__(
        self, source: str, store: LaneStore, storage: Storage, keeper: WorkerKeeper, log: FilteringBoundLogger
    ) -> None:
        self.source = source
        self.store = store
        self.storage = storage
        self.keeper = keeper
        self.log = log
        self.outcome_unknown = False  #: of the last claim

    def claim(self, running: Sequence[RunningTicket]) -> RunningTicket | None:
        """Claim the oldest ticket that the worker can run, if one waits."""
        ticket = self._claim(running)
        if ticket is None:
            return None
        self.log.info("ticket.claimed", ticket=ticket.id, service=ticket.service, claim=ticket.claim)
        for other in running:
            other.relieve()
        return RunningTicket(
            ticket,
            self.storage.folder_of(ticket.folder).claim(ticket.out),
            deadline_seconds=self.keeper.offers[ticket.service].offer["deadline_seconds"],
        )

    def _claim(self, running: Sequence[RunningTicket]) -> Ticket | None:
        try:
            if self.outcome_unknown:
                ticket = self.store.left_running(known=[run.ticket.id for run in running])
                self.outcome_unknown = False
                if ticket is not None:
                    return ticket
            beside_another = any(run.in_worker for run in running)
            ticket = self.store.claim(
                self.keeper.interface_hashes,
                beside_another=beside_another,
                running=[run.ticket.id for run in running],
            )
            if ticket is None and not running:
                self.store.ask_for_work()
        except DatabaseUnavailable as error:
            if not self.outcome_unknown:
                self.log.warning("database.lost", reason=str(error))
            self.outcome_unknown = True
            return None
        return ticket

    def hand_over(self, run: RunningTicket) -> None:
        """Let the worker read, perform and pack a claimed ticket. Raises ``OSError`` without a folder."""
        self.storage.make_claim_folder(run.out)
        inputs = self.storage.lend_input(run.ticket.folder)
        self.keeper.ahead = None
        self.keeper.count_output(run.ticket.id)
        self.keeper.tell(
            Perform(
                key=run.key,
                service=run.ticket.service,
                inputs=inputs,
                out=run.out,
                source=self.source,
            )
        )

    def look_ahead(self, running: Sequence[RunningTicket]) -> None:
        """Let the worker read, while it is busy, the ticket that waits next; this claims nothing.

        Nothing is read beside a ticket that runs alone, nor is such a ticket.
        """
        ticket = None
        if self.outcome_unknown:
            return
        if running and not any(run.runs_alone for run in running):
            try:
                ticket = self.store.next_queued(self.keeper.interface_hashes)
            except DatabaseUnavailable:
                return
        if ticket is not None and ticket.claim == 0:
            if self.keeper.ahead != ticket.id:
                try:
                    inputs = self.storage.lend_input(ticket.folder)
                except OSError:
                    return  # it is gone, or its claim will tell why it cannot be read
                self.keeper.tell(ReadAhead(service=ticket.service, inputs=inputs))
                self.keeper.ahead = ticket.id
        elif self.keeper.ahead is not None:
            self.keeper.tell(Forget())
            self.keeper.ahead = None
