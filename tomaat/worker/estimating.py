"""Asks tasks how long their tickets will take."""

from __future__ import annotations

import math
from pathlib import Path
from queue import SimpleQueue

import structlog
from structlog.contextvars import bound_contextvars

from tomaat.messages import Channel, Estimated, FromLane, ToEstimate
from tomaat.messages.fields import MOST_SECONDS
from tomaat.refusals import WrongValue
from tomaat.services.payload import check_payload
from tomaat.worker.errors import facts_of
from tomaat.worker.networks import Networks

log = structlog.get_logger()


class Estimator:
    """Answers one ticket after the other, in a thread of its own: a task that never says costs the estimates only."""

    def __init__(self, channel: Channel[FromLane], networks: Networks) -> None:
        self.channel = channel
        self.networks = networks
        self.to_estimate: SimpleQueue[ToEstimate] = SimpleQueue()

    def work(self) -> None:
        """Ask about one ticket after the other, until the process ends."""
        while True:
            self.take(self.to_estimate.get())

    def take(self, asked: ToEstimate) -> None:
        """Ask about one ticket, and tell the lane."""
        with bound_contextvars(ticket=asked.ticket):
            seconds = self.estimate(asked.service, asked.inputs)
        self.channel.send(Estimated(seconds={asked.ticket: seconds}))

    def estimate(self, service: str, inputs: Path) -> float | None:
        """Ask a task how long it will take; one that cannot say costs nothing."""
        try:
            task = self.networks.tasks[service]
            payload = check_payload(inputs, task.inputs)
            seconds = task.expected_seconds({**payload.values, **payload.headers})
            return None if seconds is None else expected(seconds)
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            log.warning("estimate.failed", service=service, **facts_of(error))
            return None


def expected(seconds: float) -> float:
    """Check the seconds that a task expects; raises ``WrongValue`` if they are not finite, or too many."""
    if not math.isfinite(seconds) or seconds > MOST_SECONDS:
        raise WrongValue(f"expected_seconds() returned {{}}; return at most {MOST_SECONDS:g} seconds, or None", seconds)
    return max(0.0, float(seconds))
