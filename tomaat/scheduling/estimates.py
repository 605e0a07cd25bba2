"""How long tasks say that tickets will take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Mapping

from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.messages import Estimate, Estimated, ToEstimate
from tomaat.scheduling.worker_keeper import WorkerKeeper
from tomaat.storage import Storage
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.ticket import Ticket

ANSWER_SECONDS = 30.0  #: without an answer, after which no task counts as able to say


class Estimates:
    """Asks a lane's worker, and writes its answers into the rows."""

    def __init__(self, store: LaneStore, storage: Storage, keeper: WorkerKeeper) -> None:
        self.store = store
        self.storage = storage
        self.keeper = keeper
        self.heard_at = 0.0  #: when the worker was asked, or answered
        self.due = False  #: there may be tickets that nobody has asked about

    def ask(self) -> None:
        """Ask about the running and the queued tickets whose task can say, unless answers are on their way.

        Tickets whose answers do not come are taken as if their tasks could not say.
        """
        if self.keeper.estimating:
            if time.monotonic() - self.heard_at > ANSWER_SECONDS:
                self._settle(dict.fromkeys(self.keeper.estimating))
            return
        self.due = False
        services = [name for name, offered in self.keeper.offering.offers.items() if offered.offer["estimates"]]
        if services:
            with contextlib.suppress(DatabaseUnavailable):
                self._ask(self.store.without_estimate(services))

    def _ask(self, tickets: Collection[Ticket]) -> None:
        asked = []
        for each in tickets:
            with contextlib.suppress(OSError):  # its files are gone: it gets no answer
                inputs = self.storage.lend_input(each.folder)
                asked.append(ToEstimate(ticket=each.id, service=each.service, inputs=inputs))
        if asked:
            self.keeper.tell(Estimate(tickets=tuple(asked)))
        self.keeper.estimating = {each.ticket for each in asked}
        self.heard_at = time.monotonic()
        if len(asked) < len(tickets):
            self._settle(dict.fromkeys({each.id for each in tickets} - self.keeper.estimating))

    def note(self, answer: Estimated) -> None:
        """Write the seconds that the worker answered; seconds for which it was not asked are dropped."""
        self.heard_at = time.monotonic()
        self._settle({ticket: answer.seconds[ticket] for ticket in self.keeper.estimating & answer.seconds.keys()})

    def _settle(self, seconds: Mapping[int, float | None]) -> None:
        """Write what is known of tickets by now; ``None``: the task cannot say."""
        self.keeper.estimating -= seconds.keys()
        try:
            self.store.estimate(seconds)
        except DatabaseUnavailable:
            return  # asked again later
        except RowRefused:  # then as if the task could not say
            with contextlib.suppress(DatabaseUnavailable, RowRefused):
                self.store.estimate(dict.fromkeys(seconds))
