"""Performs the jobs: other people's tasks, with their networks on the device."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from tomaat.messages import (
    Channel,
    DeviceBroken,
    FromLane,
    Loaded,
    Loading,
    MessageRefused,
    NoResult,
    NotOffered,
    Offered,
    Performed,
    Performing,
    Reload,
    Reloaded,
    TaskCrashed,
    WorkerReady,
)
from tomaat.messages.fields import MOST_SECONDS
from tomaat.refusals import WrongValue
from tomaat.services import Offer, Task
from tomaat.services.find import find_tasks_in
from tomaat.services.found import Found
from tomaat.services.keep import keep_outputs
from tomaat.services.kept import import_from_copy, put_back
from tomaat.services.payload import check_payload
from tomaat.services.task_problem import TaskProblem
from tomaat.worker.device_memory import DeviceMemory
from tomaat.worker.endings import end_of, writing
from tomaat.worker.errors import facts_of
from tomaat.worker.job import Job
from tomaat.worker.networks import Known, Networks
from tomaat.worker.packing import KEPT, Returned
from tomaat.worker.reading import Read

log = structlog.get_logger()

PROBE_SECONDS = 30.0  #: in which a device has to do a small operation
MOST_CRASHED = 3  #: services that may crash one after the other, none of which succeeds, before the worker is renewed


class Performer:
    """The middle stage of a worker: loads and performs in one thread, the only one that touches the device."""

    def __init__(
        self,
        channel: Channel[FromLane],
        device: Any,
        memory: DeviceMemory,
        known: Known,
        *,
        probe: Callable[[], None] = lambda: None,
        folder: Path = Path(),
        wanted: Collection[str] | None = None,
    ) -> None:
        """Perform on ``device``; ``probe`` does a small operation there, and raises if the device is broken.

        The tasks lie in ``folder``; of them the services ``wanted`` are offered, by default all.
        """
        self.channel = channel
        self.probe = probe
        self.crashed: set[str] = set()  #: services, since one succeeded
        self.networks = Networks(
            device,
            lambda _fraction, _stage: None,
            memory=memory,
            known=known,
            tell=channel.send,
        )
        self.asked: SimpleQueue[tuple[Job, Read] | Reload] = SimpleQueue()
        self.folder = folder
        self.wanted = wanted
        self.to_load: dict[str, Task] = {}
        self.order: list[str] = []  #: of ``to_load``
        self.files: dict[str, str] = {}

    def take_in(self, found: Found) -> None:
        """Take tasks to load and offer; those that are known to load soon are the first.

        ``found.tasks`` is emptied: a network that is let go must be nobody else's, or its memory does not come back.
        """
        self.files = found.files
        self.to_load = found.tasks
        self.order = sorted(found.tasks, key=lambda name: self.networks.expected_loading(found.tasks[name]))

    def load(self) -> None:
        """Load the next task's network onto the device and offer it; one that cannot be offered is reported."""
        name = self.order.pop(0)
        try:
            self.networks.load(name, self.to_load.pop(name))
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            self._tell_not_loaded(name, error)
        else:
            self._offer(name)
        if not self.order:
            self.channel.send(WorkerReady())

    def _tell_not_loaded(self, name: str, error: BaseException) -> None:
        """Report a network that did not load; end the process if the device was broken by it."""
        self.channel.send(NotOffered(reason=f"{name}: load() failed: {type(error).__name__}: {error}"))
        self.channel.send(Loading(name=name))  # if the device is broken, the next worker leaves this one out
        broken = self._broken()
        if broken is not None:
            self._end(broken)
        self.channel.send(Loaded())

    def _offer(self, name: str) -> None:
        offer = Offer.of(self.networks.tasks[name], self.files[name])
        try:
            self.channel.send(
                Offered(offer=offer.to_json(), interface_hash=offer.interface_hash, **self.networks.facts(name))
            )
        except MessageRefused as error:
            self.networks.drop(name)
            self.channel.send(NotOffered(reason=f"{name}: its interface cannot be told: {error}"))

    def work(self, packs: SimpleQueue[Returned]) -> None:
        """Load the networks, and perform the tickets as they are read, until the process ends.

        A ticket for a service that is offered already comes before the next network.
        """
        if not self.order:
            self.channel.send(WorkerReady())
        while True:
            while self.order and self.asked.empty():
                self.load()
            asked = self.asked.get()
            if isinstance(asked, Reload):
                self.reload(asked)
                continue
            job, read = asked
            with bound_contextvars(**job.facts):
                self.take(job, read, packs)

    def reload(self, asked: Reload) -> None:
        """Load changed files; one that fails leaves its former tasks as they were."""
        former = import_from_copy(self.folder, asked.copy, asked.files)
        refused = [file for file in asked.files if not self._reload_file(file, asked.copy)]
        put_back(former, refused, asked.files)
        self.channel.send(Reloaded(services=tuple(self.networks.tasks), refused=tuple(refused)))

    def _reload_file(self, file: str, copy: Path) -> bool:
        """Load all tasks of a file, then let them serve instead of its former ones; ``False``: these stay."""
        former = {service for service, place in self.files.items() if place == file}
        found = self._find_in(file) if (copy / file).exists() else Found(tasks={}, files={}, problems=[])
        if found.problems:
            for trouble in found.problems:
                self.channel.send(NotOffered(reason=f"{trouble.file}: {trouble.reason}"))
            return False
        fresh = []
        for name, task in found.tasks.items():
            try:
                fresh.append(self.networks.load_beside(task))
            except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
                self._tell_not_loaded(name, error)
                return False
        for each in fresh:
            self.networks.take_fresh(each)
        self.files |= found.files
        for service in found.tasks:
            self._offer(service)
        for service in former - found.tasks.keys():
            self.networks.drop(service)
            del self.files[service]
        return True

    def _find_in(self, file: str) -> Found:
        """Find the wanted tasks of one file; an identifier that is another file's is a fault."""
        self.channel.send(Loading(name=file))
        found = find_tasks_in([self.folder / file])
        self.channel.send(Loaded())
        for service in list(found.tasks):
            place = self.files.get(service, file)
            if place != file:
                reason = f"the task_identifier {service!r} is {place}'s, which offers it; give this file its own"
                found.problems.append(TaskProblem(file=file, reason=reason))
            if self.wanted is not None and service not in self.wanted:
                del found.tasks[service], found.files[service]
        return found

    def take(self, job: Job, read: Read, packs: SimpleQueue[Returned]) -> None:
        """Perform one job and hand it on; from then on nothing of it is the task's, and the device is free.

        An error of the task ends the worker too, if the device is broken by it.
        """
        self.channel.send(Performing(key=job.key))
        self.networks.report = job.report
        began = time.monotonic()
        try:
            outputs = self.networks.perform(job.service, read.arguments)
            seconds = time.monotonic() - began
            with writing(job.out):
                outputs = keep_outputs(outputs, job.out / KEPT)
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            self._take_error(job, error)
        else:
            self.crashed.clear()
            packs.put(Returned(job=job, read=read, outputs=outputs, seconds=seconds))
            self.channel.send(Performed(key=job.key))

    def _take_error(self, job: Job, error: BaseException) -> None:
        end = end_of(job, error)
        if isinstance(end, TaskCrashed):
            self.crashed.add(job.service)
        broken = self._broken(end)
        if broken is None and len(self.crashed) >= MOST_CRASHED:
            broken = f"{len(self.crashed)} services crashed one after the other"
        if broken is None:
            self.channel.send(end)
        else:
            self._end(broken, end)

    def _broken(self, end: NoResult | None = None) -> str | None:
        """Tell in which way the device is broken, after an error; ``None``: it does what it is asked."""
        late = threading.Timer(PROBE_SECONDS, self._end, [f"it did not answer within {PROBE_SECONDS:g} s", end])
        late.daemon = True
        late.start()
        try:
            self.probe()
        except Exception as error:  # noqa: BLE001 (a driver may raise anything)
            return first_line(error)
        finally:
            late.cancel()
        return None

    def _end(self, broken: str, end: NoResult | None = None) -> None:
        """End the process, since a context that is broken stays so, and tell the end of the ticket that broke it."""
        log.error("device.broken", device=str(self.networks.device), reason=broken)
        self.channel.send(DeviceBroken(reason=broken))  # first, so that no other ticket comes between
        if end is not None:
            self.channel.send(end)
        os._exit(1)

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


def first_line(error: Exception) -> str:
    """Tell an error of a driver, which may have many lines, in one."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
