"""Ends the worker, for whatever reason, and settles the tickets that are in it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from tomaat.messages import Loading
from tomaat.processes.log import frames_of
from tomaat.scheduling.ends import End, Fail, Lose, PutBack
from tomaat.scheduling.running_tickets import RunningTicket, RunningTickets, Stage
from tomaat.scheduling.verdicts import end_of_worker
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.tickets.problems import loading_too_long, server_fault


class ForcedEnds:
    """Used by the lane's thread. Whatever ends a worker, each ticket in it is put back or ends by it."""

    def __init__(self, keeper: WorkerKeeper, running: RunningTickets, log: FilteringBoundLogger) -> None:
        self.keeper = keeper
        self.running = running
        self.log = log

    def end_worker(self, judge: Callable[[RunningTicket], End] = lambda _: PutBack()) -> None:
        """End the worker; ``judge`` tells how each ticket in it ends."""
        self.keeper.end()
        for run in self.running.in_worker:
            run.end_as(judge(run))

    def end_for(self, run: RunningTicket, end: End) -> None:
        """End the worker because of one ticket."""
        run.end_as(end)
        self.end_worker()

    def by_death(self, ending: str) -> None:
        """Settle a worker that has died: one ticket alone spends an attempt, two run alone afterwards.

        A worker that loaded a network for no ticket in it died of that.
        """
        if self.keeper.broken is not None:  # the ticket that broke its device was told its end before
            self.by_broken_device()
            return
        loading = self.keeper.offering.loading
        self.keeper.suspect_loading()
        died = self.running.in_worker
        if not died:
            self.log.error("worker.died", ending=ending)
        for run in died:
            self.log.error("worker.died", ticket=run.ticket.id, claim=run.ticket.claim, ending=ending)
        blamed = died[0] if len(died) == 1 and (loading is None or _loads_for(died[0], loading)) else None
        self.end_worker(lambda run: end_of_worker(ending, run.ticket, blamed=run is blamed))
        if blamed is not None:
            self.keeper.note_death(blamed.ticket.service, ending)

    def by_loading(self) -> None:
        """End the worker because a loading lasts too long: a ticket that waits for it fails."""
        loading, seconds = self.keeper.offering.loading, self.keeper.offering.load_deadline_seconds
        if loading is None:
            return
        self.keeper.leave_out(loading.name, f"it was not loaded within {seconds:g} s")
        not_loaded = Fail(problem=loading_too_long(loading.name, seconds), reason="not loaded")
        self.end_worker(lambda run: not_loaded if _loads_for(run, loading) else PutBack())

    def by_broken_device(self) -> None:
        """End the worker because it can use its device no longer; what is packed in it is done again."""
        self.keeper.suspect_loading()
        self.end_worker()

    def by_fault(self, error: Exception) -> bool:
        """Fail the ticket at which an error of ours came up; ``False`` if that did not help either."""
        reference = secrets.token_hex(4)
        self.log.error("lane.fault", reference=reference, error=type(error).__name__, frames=frames_of(error))
        self.keeper.failures += 1  # so that a fault which stays is met at long intervals
        at, self.running.about = self.running.about, None
        again = at is not None and at.faulty
        if at is not None:
            at.faulty = True
            at.end_as(Lose() if again else Fail(problem=server_fault(reference), reason="our fault"))
        self.end_worker()
        return not again


def _loads_for(run: RunningTicket, loading: Loading) -> bool:
    return run.stage is Stage.PERFORMING and run.ticket.service == loading.name
