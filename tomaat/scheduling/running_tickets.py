"""A claimed ticket, from its claim to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tomaat.scheduling.limits import Limits
from tomaat.tickets.ticket import Ticket


class RunningTicket:
    """What a lane knows of a ticket that it claimed.

    It is read and performed in the worker, then packed there (``performed``), then sealed in a thread of the lane
    (``sealing``), and ended by one ``move`` in the database, which is repeated until its outcome is known.
    """

    def __init__(self, ticket: Ticket, out: Path, *, deadline_seconds: float) -> None:
        self.ticket = ticket
        self.out = out
        self.deadline_seconds = deadline_seconds
        self.limits = Limits(deadline_seconds=deadline_seconds)
        self.claimed_at = time.monotonic()
        self.relieved_at: float | None = None  #: when the next ticket was claimed
        self.loading_seconds = 0.0  #: its network's, which is no part of its duration
        self.performed = False
        self.cancel_told = False
        self.report: dict[str, Any] | None = None  #: progress that is not in the row yet
        self.sealing: Future[tuple[str, int]] | None = None
        self.move: Callable[[], bool] | None = None

    @property
    def key(self) -> str:
        """The name of this claim of this ticket to the worker."""
        return f"{self.ticket.id}/{self.ticket.claim}"

    @property
    def in_worker(self) -> bool:
        """Whether it would be lost with the worker."""
        return self.sealing is None and self.move is None

    @property
    def performs(self) -> bool:
        """Whether the device is its own."""
        return self.in_worker and not self.performed

    @property
    def packs(self) -> bool:
        """Whether all that is left to the worker is its result."""
        return self.in_worker and self.performed

    @property
    def runs_alone(self) -> bool:
        """Whether it was claimed before: a worker that died with two tickets may have died of this one."""
        return self.ticket.claim > 1

    def relieve(self) -> None:
        """Note that the next ticket was claimed."""
        self.relieved_at = self.relieved_at or time.monotonic()

    @property
    def occupied_seconds(self) -> float:
        """For how long it kept its source from the next ticket, the loading of its network aside."""
        return (self.relieved_at or time.monotonic()) - self.claimed_at - self.loading_seconds
