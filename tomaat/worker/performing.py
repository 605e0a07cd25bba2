"""Performs the jobs: other people's tasks, with their networks on the device."""

from __future__ import annotations

import math
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from tomaat.messages import (
    Channel,
    FromLane,
    MessageRefused,
    NotOffered,
    Offered,
    Performed,
    Performing,
)
from tomaat.messages.fields import MOST_SECONDS
from tomaat.refusals import WrongValue
from tomaat.services import Offer, Task
from tomaat.services.keep import keep_outputs
from tomaat.services.payload import check_payload
from tomaat.worker.device_memory import DeviceMemory
from tomaat.worker.endings import end_of, writing
from tomaat.worker.errors import facts_of
from tomaat.worker.job import Job
from tomaat.worker.networks import Known, Networks
from tomaat.worker.packing import KEPT, Returned
from tomaat.worker.reading import Read

log = structlog.get_logger()


class Performer:
    """The middle stage of a worker: loads and performs in one thread, the only one that touches the device."""

    def __init__(self, channel: Channel[FromLane], device: Any, memory: DeviceMemory, known: Known) -> None:
        self.channel = channel
        self.networks = Networks(
            device,
            lambda _fraction, _stage: None,
            memory=memory,
            known=known,
            tell=channel.send,
        )
        self.asked: SimpleQueue[tuple[Job, Read]] = SimpleQueue()

    def load(self, tasks: dict[str, Task]) -> None:
        """Load each task's network onto the device; one that cannot be loaded is reported and not offered.

        ``tasks`` is emptied: a network that is let go must be nobody else's, or its memory does not come back.
        """
        for name in list(tasks):
            try:
                self.networks.load(name, tasks.pop(name))
            except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
                self.channel.send(NotOffered(reason=f"{name}: load() failed: {type(error).__name__}: {error}"))

    def offer(self) -> None:
        """Offer each task; one whose offer cannot be sent is reported instead."""
        for name, task in list(self.networks.tasks.items()):
            offer = Offer.of(task)
            try:
                self.channel.send(
                    Offered(offer=offer.to_json(), interface_hash=offer.interface_hash, **self.networks.facts(name))
                )
            except MessageRefused as error:
                self.networks.drop(name)
                self.channel.send(NotOffered(reason=f"{name}: its interface cannot be told: {error}"))

    def work(self, packs: SimpleQueue[Returned]) -> None:
        """Perform one ticket after the other, as they are read, until the process ends."""
        while True:
            job, read = self.asked.get()
            with bound_contextvars(**job.facts):
                self.take(job, read, packs)

    def take(self, job: Job, read: Read, packs: SimpleQueue[Returned]) -> None:
        """Perform one job and hand it on; from then on nothing of it is the task's, and the device is free."""
        self.channel.send(Performing(key=job.key))
        self.networks.report = job.report
        began = time.monotonic()
        try:
            outputs = self.networks.perform(job.service, read.arguments)
            seconds = time.monotonic() - began
            with writing(job.out):
                outputs = keep_outputs(outputs, job.out / KEPT)
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            self.channel.send(end_of(job, error))
        else:
            packs.put(Returned(job=job, read=read, outputs=outputs, seconds=seconds))
            self.channel.send(Performed(key=job.key))

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
