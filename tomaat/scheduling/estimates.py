"""How long tasks say that tickets will take."""

from __future__ import annotations

from tomaat.database import DatabaseUnavailable
from tomaat.scheduling.held_worker import HeldWorker
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore


class Estimates:
    """Asks a lane's worker, and writes its answers into the rows."""

    def __init__(self, store: LaneStore, storage: Storage) -> None:
        self.store = store
        self.storage = storage
        self.not_estimated: set[int] = set()

    def ask(self, worker: HeldWorker) -> None:
        """Ask about the running and the queued tickets whose task can say, unless an answer is on its way."""
        services = [name for name, offer in worker.offers.items() if offer["offer"]["estimates"]]
        if worker.estimating or not services:
            return
        try:
            tickets = self.store.without_estimate(services, asked=self.not_estimated)
        except DatabaseUnavailable:
            return
        if tickets:
            asked = [(str(t.id), t.service, str(self.storage.ticket(t.folder).inputs)) for t in tickets]
            worker.tell({"do": "estimate", "tickets": asked})
            worker.estimating = True

    def note(self, seconds: dict[str, float | None]) -> None:
        """Write what a worker answered."""
        self.not_estimated |= {int(ticket) for ticket, value in seconds.items() if value is None}
        try:
            self.store.estimate({int(ticket): value for ticket, value in seconds.items() if value is not None})
        except DatabaseUnavailable:
            return  # asked again later
