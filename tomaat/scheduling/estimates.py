"""How long tasks say that tickets will take."""

from __future__ import annotations

import contextlib

from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.messages import Estimate, Estimated, ToEstimate
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore


class Estimates:
    """Asks a lane's worker, and writes its answers into the rows."""

    def __init__(self, store: LaneStore, storage: Storage, keeper: WorkerKeeper) -> None:
        self.store = store
        self.storage = storage
        self.keeper = keeper

    def ask(self) -> None:
        """Ask about the running and the queued tickets whose task can say, unless an answer is on its way."""
        services = [name for name, offered in self.keeper.offering.offers.items() if offered.offer["estimates"]]
        if self.keeper.estimating or not services:
            return
        try:
            tickets = self.store.without_estimate(services)
        except DatabaseUnavailable:
            return
        if tickets:
            asked = []
            for each in tickets:
                with contextlib.suppress(OSError):  # its files are gone: it gets no answer
                    inputs = self.storage.lend_input(each.folder)
                    asked.append(ToEstimate(ticket=each.id, service=each.service, inputs=inputs))
            self.keeper.tell(Estimate(tickets=tuple(asked)))
            self.keeper.estimating = {each.id for each in tickets}

    def note(self, answer: Estimated) -> None:
        """Write the seconds that the worker answered; seconds for which it was not asked are dropped."""
        seconds = {ticket: answer.seconds.get(ticket) for ticket in self.keeper.estimating}
        self.keeper.estimating = set()
        try:
            self.store.estimate(seconds)
        except DatabaseUnavailable:
            return  # asked again later
        except RowRefused:  # then as if the task could not say
            with contextlib.suppress(DatabaseUnavailable, RowRefused):
                self.store.estimate(dict.fromkeys(seconds))
