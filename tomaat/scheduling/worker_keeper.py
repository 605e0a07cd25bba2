"""Keeps a worker for a lane: starts it, tells what it offers, and starts another when it has ended."""

from __future__ import annotations

import contextlib
import select
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    Begin,
    ChannelClosed,
    DeviceBroken,
    DeviceUnusable,
    DeviceUsable,
    FromLane,
    FromWorker,
    KnownOffer,
    KnownOffers,
    Loaded,
    Loading,
    Measured,
    MessageRefused,
    NotOffered,
    Offered,
    Reload,
    Reloaded,
    WorkerReady,
)
from tomaat.processes.waker import Waker
from tomaat.scheduling.kept_tasks import KeptTasks, is_task_file
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.local_engine import LocalEngine, Worker
from tomaat.tickets.source_store import ITS_TASKS, Lease, SourceStore

Answer = TypeVar("Answer")

LONGEST_RESTART_SECONDS = 30.0
RETRY_SECONDS = 1.0
LEFT_OUT_SECONDS = 3600.0  #: no worker loads meanwhile what has ended one
MOST_ENDED = 2  #: workers that one file or network may end while it is loaded
MOST_DEADLY = 3  #: services that may end a worker one after the other before the source counts as broken
MOST_FAILURES = 6  #: whose pause is the longest
KNOWN_AT_ONCE = 200  #: offers that fit into one message
NONSENSE = "sent a message that cannot be read"  #: how a worker ended that was ended for it


class Stopping(Exception):
    """The lane was told to end."""


class LeaseLost(Stopping):
    """Somebody else holds the source."""


@dataclass(frozen=True, kw_only=True)
class WorkerEnded:
    """In place of a message: the worker has ended, or must end, in this way."""

    ending: str


class WorkerKeeper:
    """Holds the worker, its offers, and the questions that it has not answered. Used by the lane's thread.

    ``ending`` tells whether the lane has to end.
    """

    def __init__(
        self,
        source: ComputeSource,
        sources: SourceStore,
        lease: Lease,
        engine: LocalEngine,
        log: FilteringBoundLogger,
        *,
        times: LaneTimes,
        waker: Waker,
        ending: Callable[[], bool],
        kept: KeptTasks,
    ) -> None:
        self.kept = kept
        self.source = source
        self.sources = sources
        self.lease = lease
        self.engine = engine
        self.log = log
        self.times = times
        self.waker = waker
        self.ending = ending
        self.failures = 0
        self.ended_by: Counter[str] = Counter()  #: workers that ended while they loaded this at their start
        self.left_out: dict[str, float] = {}  #: files and services, and until when
        self.deadly: set[str] = set()  #: services with which a worker died, since one ticket succeeded
        self._hold(None)

    def _hold(self, worker: Worker | None) -> None:
        self.worker = worker
        self.offers: dict[str, Offered] = {}
        self.untold: list[Offered] = []  #: that are not in the database yet
        self.complete = False  #: the worker offers nothing else
        self.withdrawn = False  #: what it does not offer is not in the database any longer
        self.loading: Loading | None = None
        self.loading_since = 0.0
        self.told_loading: str | None = ITS_TASKS  #: as the database has it
        self.broken: str | None = None  #: why the device can be used by this worker no longer
        self.reloading: Reload | None = None  #: what the worker was told to load anew
        self.refusals: list[str] = []  #: the reasons for what was not offered meanwhile
        self.ahead: int | None = None  #: the waiting ticket whose inputs the worker was told to read
        self.estimating: set[int] = set()  #: the tickets whose seconds the worker was asked for

    @property
    def interface_hashes(self) -> list[str]:
        """The hashes of the interfaces that the worker runs."""
        return [offered.interface_hash for offered in self.offers.values()]

    def tell(self, message: FromLane) -> None:
        """Send the worker a message; one that reads nothing is ended. That is heard later, after its last messages."""
        if self.worker is not None:
            try:
                self.worker.send(message)
            except ChannelClosed:
                self.worker.kill()

    def ready(self) -> bool:
        """Tell whether there is a worker, after an attempt to start one where there is none.

        Raises ``Stopping`` when the lane has to end meanwhile.
        """
        if self.worker is not None and self.worker.alive():
            return True
        if self.worker is not None:
            self.log.error("worker.died", ending=self.worker.ending())
            self.suspect_loading()
            self.end()
        if self.failures:
            self._sleep(min(LONGEST_RESTART_SECONDS, 0.5 * 2 ** min(self.failures, MOST_FAILURES)))
        return not self.ending() and self._start()

    def receive(self, seconds: float) -> FromWorker | WorkerEnded | None:
        """Wait for a message of the worker, a wake-up of the lane, or ``seconds``."""
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        if self.worker is not None:
            poll.register(self.worker, select.POLLIN)
            poll.register(self.worker.pidfd, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
        self.waker.rest()
        if self.worker is None:
            return None
        if self.worker.fileno() in ready:
            return self._hear(self.worker)
        return WorkerEnded(ending=self.worker.ending()) if self.worker.pidfd in ready else None

    def _hear(self, worker: Worker) -> FromWorker | WorkerEnded:
        try:
            return worker.receive()
        except ChannelClosed:
            return WorkerEnded(ending=worker.ending())
        except MessageRefused as error:
            self.log.error("worker.message_refused", reason=str(error))
            return WorkerEnded(ending=NONSENSE)

    def note(self, message: Loading | Loaded | Offered | NotOffered | WorkerReady | DeviceBroken) -> None:
        """Take a message of the worker about itself."""
        match message:
            case Loading():
                self.loading, self.loading_since = message, time.monotonic()
                self.log.info("task.loading", name=message.name)
            case Loaded():
                self.loading = None
            case Offered():
                self.offers[message.service] = message
                self.untold.append(message)
            case NotOffered():
                if self.reloading is not None:
                    self.refusals.append(message.reason)
                self.log.error("task.refused", reason=message.reason)
            case WorkerReady():
                self.failures = 0
                self.ended_by.clear()
                self.complete = True
                self.tell_offers()
                self.log.info("source.ready", services=sorted(self.offers), device=self.source.torch_device)
            case DeviceBroken():
                self.broken = message.reason
                self.log.error("device.broken", reason=message.reason)

    @property
    def has_news(self) -> bool:
        """Whether the database does not know yet what the worker offers."""
        return bool(self.untold) or self.complete is not self.withdrawn or self.told_loading != self._loads

    @property
    def _loads(self) -> str | None:
        """What is still loaded before all that the worker offers is; networks that were let go do not count."""
        if self.complete and self.reloading is None:
            return None
        return ITS_TASKS if self.loading is None else self.loading.name

    def tell_offers(self) -> None:
        """Write the new offers, and withdraw the others once it is known that no more will come."""
        if not self.has_news:
            return
        loads = self._loads
        try:
            self.sources.offer(self.lease, [as_row(offered) for offered in self.untold])
            self.untold = []
            if self.complete:
                self.sources.withdraw_others(self.lease, self.offers)
                self.withdrawn = True
            if loads != self.told_loading:
                since = time.monotonic() if self.loading is None else self.loading_since
                self.sources.note_loading(self.lease, loads, time.monotonic() - since)
                self.told_loading = loads
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))

    # Loading

    def reload(self, service: str | None) -> bool:
        """Tell the worker to load what has changed, or the file of one service; ``False`` if that is nothing.

        Helper modules that have changed come with it; without a service, all tasks are loaded with them.
        """
        changed = self.kept.changed()
        helpers = {name for name in changed if not is_task_file(name)}
        files = self._files_of(service, changed - helpers, all_of_them=bool(helpers))
        if not files:
            return False
        for name in (*files, *([] if service is None else [service])):
            self.left_out.pop(name, None)
        self.refusals = []
        self.reloading = Reload(copy=self.kept.renewed(files | helpers), files=tuple(sorted(files)))
        self.tell(self.reloading)
        return True

    def _files_of(self, service: str | None, changed: set[str], *, all_of_them: bool) -> set[str]:
        """Choose the files to load anew; a service that is not offered may be in any file that offers nothing."""
        offered = {name: str(each.offer["file"]) for name, each in self.offers.items()}
        if service is None:
            return changed | (set(offered.values()) if all_of_them else set())
        if service in offered:
            return {offered[service]}
        files = self.kept.files()
        return changed | (files - set(offered.values()) or files)

    def end_reload(self, reloaded: Reloaded) -> list[str]:
        """Keep the new code of what has loaded, and withdraw what is gone; return why the rest was refused."""
        if self.reloading is None:
            return []
        self.kept.take(self.reloading.copy, reloaded.refused)
        self.reloading = None
        self.offers = {name: offered for name, offered in self.offers.items() if name in reloaded.services}
        self.withdrawn = False
        self.tell_offers()
        return self.refusals if reloaded.refused else []

    @property
    def load_deadline_seconds(self) -> float:
        """The seconds that the present loading may take."""
        declared = self.loading.deadline_seconds if self.loading is not None else None
        return self.times.load_seconds if declared is None else declared

    def loading_left(self, longest: float) -> float:
        """Tell for how many seconds the present loading may still last, at most ``longest``."""
        if self.loading is None:
            return longest
        return max(0.0, min(longest, self.loading_since + self.load_deadline_seconds - time.monotonic()))

    def suspect_loading(self) -> None:
        """Note that the worker ended; the file or the network that it was loading is left out after the second time."""
        if self.loading is not None:
            self.ended_by[self.loading.name] += 1
            if self.ended_by[self.loading.name] >= MOST_ENDED:
                self.leave_out(self.loading.name, f"{MOST_ENDED} workers ended while they loaded it")

    def leave_out(self, name: str, reason: str) -> None:
        """Let the next workers do without a file of tasks, or without a service."""
        if self.reloading is not None:
            return  # the former version is loaded again
        self.left_out[name] = time.monotonic() + LEFT_OUT_SECONDS
        self.log.error("task.left_out", name=name, reason=reason)

    # Dying

    def note_death(self, service: str, ending: str) -> None:
        """Note that the worker died with a ticket; deaths with several services are taken as the source's fault."""
        self.deadly.add(service)
        if len(self.deadly) < MOST_DEADLY:
            return
        problem = f"its worker died with {len(self.deadly)} services one after the other; it {ending} at last"
        self.log.error("source.unusable", reason=problem)
        with contextlib.suppress(DatabaseUnavailable):
            self._describe(problem)
        self.failures = MOST_FAILURES  # the next worker is started after the longest pause

    def note_success(self) -> None:
        """Note that a ticket succeeded, so that the source is in order."""
        self.deadly.clear()

    def count_output(self, ticket: int) -> None:
        """Bound what is printed from now on as this ticket's."""
        if self.worker is not None and self.worker.output is not None:
            self.worker.output.begin(ticket)

    def note_measured(self, measured: Measured) -> None:
        """Write a measurement; one that the database did not take comes again with the next change."""
        try:
            self.sources.note_needs(self.lease, {**asdict(measured), "warm": list(measured.warm)})
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))

    def end(self) -> None:
        """Kill the worker, if there is one."""
        if self.reloading is not None:
            self.kept.drop(self.reloading.copy)
        if self.worker is not None:
            self.worker.stop()
            self._hold(None)

    def _start(self) -> bool:
        self.failures += 1
        known = self._insist(lambda: self.sources.offers_of(self.source.name))
        try:
            worker = self.engine.start(self.source, self.kept.copy)
        except OSError as error:
            self.log.error("worker.not_started", reason=str(error))
            return False
        self._hold(worker)
        if not self._insist(lambda: self.sources.note_worker(self.lease, worker.pid, worker.started)):
            raise LeaseLost
        problem = self._hear_of_device()
        self._insist(lambda: self._describe(problem))
        self._insist(lambda: self.sources.note_loading(self.lease, ITS_TASKS, 0.0))
        if problem is not None:
            self.log.error("source.unusable", reason=problem)
            self.end()
            return False
        offers = [KnownOffer(**each) for each in known]
        for start in range(0, len(offers), KNOWN_AT_ONCE):
            self.tell(KnownOffers(offers=tuple(offers[start : start + KNOWN_AT_ONCE])))
        self.left_out = {name: until for name, until in self.left_out.items() if until > time.monotonic()}
        self.tell(Begin(without=tuple(self.left_out)))
        return True

    def _hear_of_device(self) -> str | None:
        """Listen to a starting worker until it can use its device; return why it cannot, if so."""
        deadline = time.monotonic() + self.times.start_seconds
        while True:
            message = self.receive(deadline - time.monotonic())
            if self.ending():
                raise Stopping
            match message:
                case DeviceUsable():
                    return None
                case DeviceUnusable():
                    return message.reason
                case WorkerEnded():
                    return f"its worker {message.ending} while it started"
                case None if time.monotonic() >= deadline:
                    return f"its worker could not use the device within {self.times.start_seconds:g} s"

    def _describe(self, problem: str | None) -> None:
        self.sources.describe(
            self.lease,
            device_name=self.source.device_name,
            memory_bytes=self.source.memory_bytes,
            problem=problem,
        )

    def _insist(self, ask: Callable[[], Answer]) -> Answer:
        """Repeat a safe question until the database answers. Raises ``Stopping`` when the lane has to end."""
        while True:
            try:
                return ask()
            except DatabaseUnavailable as error:
                self.log.warning("database.lost", reason=str(error))
                if self.ending():
                    raise Stopping from error
                self._sleep(RETRY_SECONDS)

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        deadline = time.monotonic() + seconds
        while not self.ending() and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self.waker.rest()


def as_row(offered: Offered) -> dict[str, object]:
    """Give an offer as ``SourceStore.offer`` writes it."""
    return {**asdict(offered), "service": offered.service}
