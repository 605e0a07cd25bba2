"""The main thread of TaskScheduling: takes and renews the sources' leases, starts their lanes and workers."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import structlog

from tomaat.database import QUEUED, WISHED, DatabaseUnavailable, Hints, RowRefused
from tomaat.devices.compute_source import ComputeSource
from tomaat.processes.log import frames_of
from tomaat.processes.stop import Stop
from tomaat.scheduling.beside import LanesOfSource
from tomaat.scheduling.engine import Engine
from tomaat.scheduling.environment import Environment
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lanes import Lane
from tomaat.tickets.reload_store import ReloadAsked, ReloadStore
from tomaat.tickets.source_store import Lease, SourceStore, take_lease

log = structlog.get_logger()

JOIN_SECONDS = 0.05
BEATS_PER_LEASE = 5


@dataclass(frozen=True, kw_only=True)
class RunningLane:
    """A lane and the thread that it runs in."""

    lane: Lane
    thread: threading.Thread


@dataclass(frozen=True, kw_only=True)
class RunningSource:
    """A compute source that is held, and its lanes; all of them end before another lease is taken."""

    source: ComputeSource
    lease: Lease
    told: LanesOfSource
    lanes: list[RunningLane]

    @property
    def is_ended(self) -> bool:
        """Whether no lane runs any longer."""
        return not any(running.thread.is_alive() for running in self.lanes)

    @property
    def is_ending(self) -> bool:
        """Whether a lane has ended, or ends, because the lease is lost or its own error stays."""
        return any(running.lane.lease_lost or not running.thread.is_alive() for running in self.lanes)

    def hear(self, *, at_once: bool) -> None:
        """Let the first idle lane look at the queue, or all lanes: where none is idle, or ``at_once``."""
        lanes = [running.lane for running in self.lanes]
        idle = next((lane for lane in lanes if lane.beside.is_idle), None)
        for lane in lanes if at_once or idle is None else [idle]:
            lane.hear(at_once=at_once)


MakeLane = Callable[[ComputeSource, Lease, LanesOfSource, KeptTasks], Lane]


class Scheduler:
    """The lanes of each compute source; heartbeats for all come from here, also while a lane flushes a result."""

    def __init__(
        self,
        sources: SourceStore,
        make_lane: MakeLane,
        engine: Engine,
        hints: Hints,
        *,
        reloads: ReloadStore,
        kept: Mapping[str, KeptTasks],
        poll_seconds: float,
        lanes: int | None,
        environments: Sequence[Environment] = (),
    ) -> None:
        """Hold the engine's sources with ``lanes`` each; ``None``: as many as the networks' measured needs allow.

        Each of the other ``environments`` has one more lane of each source that may offer its services.
        """
        self.lanes = lanes
        self.environments = environments
        self.reloads = reloads
        self.reload_asked = False
        self.kept = kept
        self.usable: list[ComputeSource] = []
        self.unusable: list[ComputeSource] = []  #: that the database has not been told
        self.known: set[str] = set()  #: the names of all sources that were ever there
        self.sources = sources
        self.make_lane = make_lane
        self.engine = engine
        self.hints = hints
        self.beat_seconds = sources.lease_seconds / BEATS_PER_LEASE
        self.beat_at = 0.0
        self.poll_seconds = poll_seconds
        self.poll_at = 0.0
        self.running: dict[str, RunningSource] = {}
        self.waited_for: set[str] = set()

    def run(self, stop: Stop) -> None:
        """Keep lanes running until the door is asked to stop, then let them end."""
        stop.on_hangup(self.ask_to_reload)
        try:
            while not stop.asked:
                if time.monotonic() >= self.beat_at:
                    self._beat()
                    self.beat_at = time.monotonic() + self.beat_seconds
                self._poll()
                self._wait(stop)
        finally:
            self._end_lanes()

    def _beat(self) -> None:
        """Renew the leases that are held, take those that are free; an outage of the database ends nothing.

        Nor does an error of the machine: the other sources' leases are renewed all the same.
        """
        self._look_for_sources()
        parts: list[Callable[[], None]] = [
            *(kept.hold for kept in {*self.kept.values(), *(running.lane.kept for running in self._lanes())}),
            self._tell_unusable,
            self._renew,
            *(partial(self._let_go, name) for name in self._left()),
            *(partial(self._hold, source) for source in self.usable),
            self._note_readings,
            self._ask_to_reload,
            *self.engine.duties,
        ]
        for part in parts:
            try:
                part()
            except DatabaseUnavailable as error:
                log.warning("database.lost", reason=str(error))
                return
            except OSError as error:
                reference = secrets.token_hex(4)
                log.error("beat.fault", reference=reference, error=type(error).__name__, frames=frames_of(error))

    def _look_for_sources(self) -> None:
        """Note which sources there are now: nodes join and leave."""
        found = self.engine.sources()
        self.usable = [source for source in found if source.problem is None]
        for source in found:
            if source.problem is not None and source.name not in self.known:
                log.error("source.unusable", source=source.name, reason=source.problem)
                self.unusable.append(source)
        self.known |= {source.name for source in found}

    def _left(self) -> list[str]:
        """Name the sources that are held and are there no longer."""
        return [name for name in self.running if name not in {source.name for source in self.usable}]

    def _let_go(self, name: str) -> None:
        """End the lanes of a source that left; then give its lease back, so that its tickets go elsewhere at once."""
        running = self.running[name]
        for each in running.lanes:
            each.lane.stop()
        if running.is_ended:
            del self.running[name]  # first: what follows is done once, whatever fails
            self._close(running)
            self.sources.release(running.lease)
            log.warning("source.left", source=name)

    def ask_to_reload(self) -> None:
        """Let all lanes load what has changed; safe in a signal's handler."""
        self.reload_asked = True
        self.hints.wake()

    def _ask_to_reload(self) -> None:
        asked = self.reloads.asked(list(self.running))
        if self.reload_asked:
            self.reload_asked = False
            asked += [ReloadAsked(id=0, source=name, service=None) for name in self.running]
        for each in asked:
            for running in self.running[each.source].lanes:
                running.lane.reload(each)

    def _lanes(self) -> list[RunningLane]:
        return [running for source in self.running.values() for running in source.lanes]

    def _note_readings(self) -> None:
        for name, running in self.running.items():
            reading = self.engine.reading(name)
            if reading is not None:
                if reading.used_bytes is not None and running.told.context_bytes:
                    running.told.note_used(reading.used_bytes)
                self.sources.note_reading(running.lease, **asdict(reading))

    def _wait(self, stop: Stop) -> None:
        """Start workers that lanes ask for, and pass hints on to the lanes concerned, until something is due.

        A worker is started in its turn, which a beat or a wake-up may bring.
        """
        while not stop.asked and (left := min(self.beat_at, self.poll_at) - time.monotonic()) > 0:
            self.engine.serve_requests()
            heard = self.hints.wait(left)
            self._pass_on({hint.about for hint in heard if hint.channel == QUEUED})
            self._pass_on({hint.about for hint in heard if hint.channel == WISHED}, at_once=True)
            if self.reload_asked:
                self.beat_at = 0.0

    def _pass_on(self, sources: Collection[str], *, at_once: bool = False) -> None:
        """Let the lanes of some sources look at their queues, and their tickets; ``""`` means all sources."""
        for name, running in self.running.items():
            if name in sources or "" in sources:
                running.hear(at_once=at_once)

    def _poll(self) -> None:
        """Look, for all lanes at once, where tickets wait or run: a hint may have been lost."""
        if time.monotonic() < self.poll_at:
            return
        self.poll_at = time.monotonic() + self.poll_seconds
        try:
            self._pass_on(self.sources.with_tickets(list(self.running)), at_once=True)
        except DatabaseUnavailable as error:
            log.warning("database.lost", reason=str(error))

    def _renew(self) -> None:
        """Renew the leases of all lanes; a lane whose lease somebody else has by now ends."""
        held = [running.lease for running in self.running.values() if not running.is_ending]
        renewed = self.sources.renew_all(held)
        for lease in held:
            if lease.name not in renewed:
                log.warning("source.lost", source=lease.name, reason="another TaskScheduling holds it now")
                self._abandon(self.running[lease.name])

    def _hold(self, source: ComputeSource) -> None:
        """Take the lease of a source that has no lanes; those that have ended are followed by others."""
        try:
            self._take_or_follow(source)
        except RowRefused as error:
            log.error("source.refused", source=source.name, reason=str(error))

    def _take_or_follow(self, source: ComputeSource) -> None:
        running = self.running.get(source.name)
        if running is None:
            self._take(source)
        elif running.is_ended:
            self._close(running)
            del self.running[source.name]
        elif running.is_ending:
            self._abandon(running)
        else:
            self._add_lanes(running)

    @staticmethod
    def _abandon(running: RunningSource) -> None:
        """End all lanes of a source: what one of them cannot mend, or has lost, is taken afresh for all."""
        for each in running.lanes:
            each.lane.abandon()

    def _close(self, running: RunningSource) -> None:
        for each in running.lanes:
            each.lane.close()
            if each.lane.kept is not self.kept[running.source.name]:
                KeptTasks.drop(each.lane.kept.under)

    def _take(self, source: ComputeSource) -> None:
        lease = take_lease(self.sources, source.name)
        if lease is None:
            if source.name not in self.waited_for:
                log.warning("source.held", source=source.name, reason="another TaskScheduling holds it; waiting")
                self.waited_for.add(source.name)
            return
        self.waited_for.discard(source.name)
        for left_over in self.sources.workers_of(source.name):
            if self.engine.end_left_over(source.name, *left_over):
                log.warning("worker.left_over_ended", source=source.name, pid=left_over[0])
        log.info("source.taken", source=source.name, epoch=lease.epoch)
        self.sources.describe(lease, device_name=source.device_name, memory_bytes=source.memory_bytes, problem=None)
        told = LanesOfSource(source.memory_bytes, on_gpu=source.on_gpu)
        self.running[source.name] = RunningSource(source=source, lease=lease, told=told, lanes=[])
        self._add_lanes(self.running[source.name])

    def _add_lanes(self, running: RunningSource) -> None:
        """Start the lanes that are missing; where their number is not given, as many as are known to fit."""
        source, first = running.source, self.kept[running.source.name]
        there = [each.lane.kept.environment.python for each in running.lanes]
        wanted = self.lanes or running.told.fitting(most=os.cpu_count() or 1)
        kept = [first.twin() if number else first for number in range(there.count(None), wanted)]
        others = [each for each in self.environments if each.part_of(source).services != ()]
        kept += [first.beside(each) for each in others if each.python not in there]
        if not kept:
            return
        self.sources.note_lanes(running.lease, len(there) + len(kept))
        # all of them first, so that each worker is told that it shares its device
        made = [self.make_lane(each.environment.part_of(source), running.lease, running.told, each) for each in kept]
        for lane in made:
            name = f"{running.source.name} {lane.beside.number}"
            running.lanes.append(RunningLane(lane=lane, thread=threading.Thread(target=lane.run, name=name)))
            running.lanes[-1].thread.start()

    def _tell_unusable(self) -> None:
        for source in list(self.unusable):
            lease = take_lease(self.sources, source.name)
            if lease is not None:  # else another TaskScheduling can use it, or has ended without a word
                self.sources.describe(
                    lease,
                    device_name=source.device_name,
                    memory_bytes=source.memory_bytes,
                    problem=source.problem,
                )
                self.unusable.remove(source)

    def _end_lanes(self) -> None:
        """Ask all lanes to end, keep their leases meanwhile, and give these back."""
        self.engine.end_spare()
        for running in self._lanes():
            running.lane.stop()
        beat_at = time.monotonic()
        while any(running.thread.is_alive() for running in self._lanes()):
            if time.monotonic() >= beat_at:
                self._renew_all()
                beat_at = time.monotonic() + self.beat_seconds
            self.engine.serve_requests()
            for running in self._lanes():
                running.thread.join(JOIN_SECONDS)
        for source in self.running.values():
            try:
                self.sources.release(source.lease)
            except DatabaseUnavailable:
                return  # they run out

    def _renew_all(self) -> None:
        try:
            self.sources.renew_all([running.lease for running in self.running.values()])
        except DatabaseUnavailable as error:
            log.warning("database.lost", reason=str(error))
