"""Performs the jobs: other people's tasks, with their networks on the device."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from tomaat.messages import (
    LARGEST_MESSAGE,
    Channel,
    DeviceBroken,
    FromLane,
    Loaded,
    Loading,
    MakeRoom,
    MessageRefused,
    NoResult,
    NotOffered,
    Offered,
    Performed,
    Performing,
    Reload,
    Reloaded,
    RoomMade,
    TaskCrashed,
    WorkerReady,
    write,
)
from tomaat.processes.log import text_of
from tomaat.services import Offer, Task
from tomaat.services.find import find_tasks_in
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.found import Found
from tomaat.services.keep import Copies, keep_outputs
from tomaat.services.kept import import_from_copy, put_back
from tomaat.services.own_texts import texts_of, versions_of
from tomaat.services.task_problem import TaskProblem
from tomaat.worker.device_memory import DeviceMemory
from tomaat.worker.endings import end_of, writing
from tomaat.worker.job import Job
from tomaat.worker.networks import Fresh, Known, Networks
from tomaat.worker.packing import KEPT, Returned
from tomaat.worker.reading import Read

log = structlog.get_logger()

PROBE_SECONDS = 30.0  #: in which a device has to do a small operation
FACTS_BYTES = 200  #: of a message that offers a service, for the measurements, which change
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
        shared: bool = False,
    ) -> None:
        """Perform on ``device``; ``probe`` does a small operation there, and raises if the device is broken.

        The tasks lie in ``folder``; of them the services ``wanted`` are offered, by default all. A ``shared`` device
        has other workers.
        """
        self.channel = channel
        self.probe = probe
        self.crashed: set[str] = set()  #: services, since one succeeded
        self.spare: deque[Any] = deque()  #: memory for copies, which the packer gives back
        self.networks = Networks(
            device,
            lambda _fraction, _stage: None,
            memory=memory,
            known=known,
            tell=channel.send,
            shared=shared,
        )
        self.to_perform: SimpleQueue[tuple[Job, Read] | Reload | MakeRoom] = SimpleQueue()
        self.folder = folder
        self.wanted = wanted
        self.to_load = Found(tasks={}, files={}, problems=[])
        self.order: list[str] = []  #: of ``to_load``

    def take_in(self, found: Found) -> None:
        """Take tasks to load and offer; those that are known to load soon are the first.

        ``found.tasks`` is emptied: a network that is let go must be nobody else's, or its memory does not come back.
        """
        self.to_load = found
        self.order = sorted(found.tasks, key=lambda name: self.networks.expected_loading(found.tasks[name]))

    def load(self) -> None:
        """Load the next task's network onto the device and offer it; one that cannot be offered is reported."""
        name = self.order.pop(0)
        try:
            self.networks.load(name, self.to_load.tasks.pop(name), self.to_load.files[name])
            offer = offer_of(self.networks.tasks[name], self.networks.files[name], self.networks.weights_sha256(name))
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            self.networks.drop(name)
            self._tell_not_loaded(name, error)
        else:
            self._tell_offer(offer)
        if not self.order:
            self.channel.send(WorkerReady())

    def _tell_not_loaded(self, name: str, error: BaseException) -> None:
        """Report a task that cannot be offered; end the process if the device was broken by it."""
        self.channel.send(Loading(name=name))  # what ends the worker now is its error, or the device
        if isinstance(error, MessageRefused):
            reason = f"its interface cannot be told: {error}"
        elif isinstance(error, FolderRefused):
            reason = str(error)
        else:
            reason = f"load() failed: {type(error).__name__}: {text_of(error)}"
        self.channel.send(NotOffered(reason=f"{name}: {reason}"))
        broken = self._broken()
        if broken is not None:
            self._end(broken)
        self.channel.send(Loaded())

    def _tell_offer(self, offer: Offer) -> None:
        self.channel.send(_offered(offer, self.networks.facts(offer.service)))

    def work(self, packs: SimpleQueue[Returned]) -> None:
        """Load the networks, and perform the tickets as they are read, until the process ends.

        A ticket for a service that is offered already comes before the next network.
        """
        if not self.order:
            self.channel.send(WorkerReady())
        while True:
            while self.order and self.to_perform.empty():
                self.load()
            self._take_next(packs)

    def _take_next(self, packs: SimpleQueue[Returned]) -> None:
        """Wait for what is asked next, and do it; nothing of it is held afterwards."""
        asked = self.to_perform.get()
        if isinstance(asked, Reload):
            self.reload(asked)
            return
        if isinstance(asked, MakeRoom):
            self.networks.let_all_go()
            self.channel.send(RoomMade())
            return
        job, read = asked
        with bound_contextvars(**job.facts):
            self.take(job, read, packs)

    def reload(self, asked: Reload) -> None:
        """Load changed files; one that fails leaves its former tasks as they were."""
        former = import_from_copy(self.folder, asked.copy, asked.files)
        found = self._find(asked)
        for trouble in found.problems:
            self.channel.send(NotOffered(reason=f"{trouble.file}: {trouble.reason}"))
        faulty = {trouble.file for trouble in found.problems}
        moves = [{file, self.networks.files.get(service, file)} for service, file in found.files.items()]
        refused: set[str] = set()
        for files in together(asked.files, moves):
            if files & faulty or not self._take_files(files, found):
                refused |= files
        put_back(former, refused, asked.files)
        self.channel.send(Reloaded(services=tuple(self.networks.tasks), refused=tuple(sorted(refused))))

    def _find(self, asked: Reload) -> Found:
        """Find the wanted tasks of changed files; an identifier of a file that is not loaded anew is a fault."""
        found = find_tasks_in(
            [self.folder / file for file in asked.files if (asked.copy / file).exists()],
            kept=asked.copy,
            offered=self.networks.files,
            begin=lambda file: self.channel.send(Loading(name=file)),
        )
        self.channel.send(Loaded())
        for service, file in list(found.files.items()):
            place = self.networks.files.get(service, file)
            if place not in asked.files:
                reason = f"the task_identifier {service!r} is {place}'s, which offers it; give this file its own"
                found.problems.append(TaskProblem(file=file, reason=reason))
            if self.wanted is not None and service not in self.wanted:
                del found.files[service]
        return found

    def _take_files(self, files: set[str], found: Found) -> bool:
        """Load all tasks of some files, then let them serve instead of the former ones; ``False``: these stay."""
        offers: list[tuple[Fresh, Offer]] = []
        for service in [service for service, file in found.files.items() if file in files]:
            try:
                fresh = self.networks.load_beside(type(found.tasks[service]), found.files[service])
                offers.append((fresh, offer_of(fresh.task, fresh.file, fresh.sha256)))
            except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
                self._tell_not_loaded(service, error)
                return False
        former = {service for service, file in self.networks.files.items() if file in files}
        for fresh, _ in offers:
            self.networks.take_fresh(fresh)
        for _, offer in offers:
            self._tell_offer(offer)
        for service in former - {offer.service for _, offer in offers}:
            self.networks.drop(service)
        return True

    def take(self, job: Job, read: Read, packs: SimpleQueue[Returned]) -> None:
        """Perform one job and hand it on; from then on nothing of it is the task's, and the device is free.

        An error of the task ends the worker too, if the device is broken by it.
        """
        self.channel.send(Performing(key=job.key))
        self.networks.report = job.report
        copies = Copies(self.spare)
        began = time.monotonic()
        try:
            job.report.demand_wanted()
            outputs = self.networks.perform(job.service, read.arguments)
            seconds = time.monotonic() - began
            with writing(job.out):
                outputs = keep_outputs(outputs, job.out / KEPT, copies)
            returned = self._returned(job, read, outputs, seconds, copies)
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            self._take_error(job, error)
        else:
            self.crashed.clear()
            packs.put(returned)
            self.channel.send(Performed(key=job.key))

    def _returned(self, job: Job, read: Read, outputs: Any, seconds: float, copies: Copies) -> Returned:
        task = self.networks.tasks[job.service]
        return Returned(
            job=job,
            read=read,
            outputs=outputs,
            version=task.version,
            texts=texts_of(task),
            weights_sha256=self.networks.weights_sha256(job.service),
            packages=versions_of(task),
            seconds=seconds,
            copies=copies,
        )

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


def together(files: Iterable[str], moves: Iterable[set[str]]) -> list[set[str]]:
    """Join the files between which a service moves: they are taken, or refused, as one.

    >>> [sorted(group) for group in together(["A.py", "B.py", "C.py"], [{"A.py", "C.py"}])]
    [['B.py'], ['A.py', 'C.py']]
    """
    groups = [{file} for file in files]
    for move in moves:
        joined = [group for group in groups if group & move]
        groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    return groups


def offer_of(task: Task, file: str, weights_sha256: str | None) -> Offer:
    """Describe a task and its weights. Raises ``MessageRefused`` for a description that cannot be told to the lane."""
    offer = Offer.of(task, file, weights_sha256)
    unknown = dict.fromkeys(["network_bytes", "peak_bytes", "load_seconds", "warm"])
    if len(write(_offered(offer, unknown))) > LARGEST_MESSAGE - FACTS_BYTES:
        raise MessageRefused(f"it is longer than {LARGEST_MESSAGE - FACTS_BYTES} bytes")
    return offer


def _offered(offer: Offer, facts: Mapping[str, Any]) -> Offered:
    return Offered(offer=offer.to_json(), interface_hash=offer.interface_hash, **facts)


def first_line(error: Exception) -> str:
    """Tell an error of a driver, which may have many lines, in one."""
    return (text_of(error).strip().splitlines() or [type(error).__name__])[0]
