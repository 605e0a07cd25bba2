"""The main thread of TaskScheduling: takes and renews the sources' leases, starts their lanes and workers."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import structlog

from tomaat.database import DatabaseUnavailable, Hints, RowRefused
from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_watch import DeviceWatch
from tomaat.processes.log import frames_of
from tomaat.processes.stop import Stop
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lanes import Lane
from tomaat.scheduling.local_engine import LocalEngine, end_left_over
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


class Scheduler:
    """One lane per compute source; heartbeats for all of them come from here, also while a lane flushes a result."""

    def __init__(
        self,
        compute_sources: Sequence[ComputeSource],
        sources: SourceStore,
        make_lane: Callable[[ComputeSource, Lease], Lane],
        engine: LocalEngine,
        hints: Hints,
        *,
        watch: DeviceWatch,
        reloads: ReloadStore,
        kept: Collection[KeptTasks],
        lease_seconds: float,
    ) -> None:
        self.reloads = reloads
        self.reload_asked = False
        self.kept = kept
        self.usable = [source for source in compute_sources if source.problem is None]
        self.unusable = [source for source in compute_sources if source.problem is not None]
        self.sources = sources
        self.make_lane = make_lane
        self.engine = engine
        self.hints = hints
        self.watch = watch
        self.beat_seconds = lease_seconds / BEATS_PER_LEASE
        self.running: dict[str, RunningLane] = {}
        self.waited_for: set[str] = set()
        self.told = False  #: the log has the unusable sources

    def run(self, stop: Stop) -> None:
        """Keep lanes running until the door is asked to stop, then let them end."""
        stop.on_hangup(self.ask_to_reload)
        try:
            while not stop.asked:
                self._beat()
                self._wait(self.beat_seconds)
        finally:
            self._end_lanes()

    def _beat(self) -> None:
        """Renew the leases that are held, take those that are free; an outage of the database ends nothing.

        Nor does an error of the machine: the other sources' leases are renewed all the same.
        """
        parts: list[Callable[[], None]] = [
            *(kept.hold for kept in self.kept),
            self._tell_unusable,
            *(partial(self._hold, source) for source in self.usable),
            self._note_readings,
            self._ask_to_reload,
            self.engine.end_orphans,
            self.engine.keep_spare,
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
            self.running[each.source].lane.reload(each)

    def _note_readings(self) -> None:
        for name, running in self.running.items():
            reading = self.watch.take(name)
            if reading is not None:
                self.sources.note_reading(running.lane.lease, **asdict(reading))

    def _wait(self, seconds: float) -> None:
        """Start workers that lanes ask for, and pass hints on, until the next beat is due."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            heard = self.hints.wait(left)
            self.engine.serve_requests()
            for running in self.running.values():
                if heard:
                    running.lane.wake()
            if not heard:
                return

    def _hold(self, source: ComputeSource) -> None:
        """Renew the lease of a source, or take it; a row that is refused is told."""
        try:
            self._renew_or_take(source)
        except RowRefused as error:
            log.error("source.refused", source=source.name, reason=str(error))

    def _renew_or_take(self, source: ComputeSource) -> None:
        """Renew the lease, or take it; a lane that has ended is followed by another."""
        running = self.running.get(source.name)
        if running is None:
            self._take(source)
        elif not running.thread.is_alive():
            running.lane.close()
            del self.running[source.name]
        elif running.lane.lease_lost:
            pass  # it ends
        elif not self.sources.renew(running.lane.lease):
            log.warning("source.lost", source=source.name, reason="another TaskScheduling holds it now")
            running.lane.abandon()

    def _take(self, source: ComputeSource) -> None:
        lease = take_lease(self.sources, source.name)
        if lease is None:
            if source.name not in self.waited_for:
                log.warning("source.held", source=source.name, reason="another TaskScheduling holds it; waiting")
                self.waited_for.add(source.name)
            return
        self.waited_for.discard(source.name)
        left_over = self.sources.worker_of(source.name)
        if left_over is not None and end_left_over(*left_over):
            log.warning("worker.left_over_ended", source=source.name, pid=left_over[0])
        log.info("source.taken", source=source.name, epoch=lease.epoch)
        self.sources.describe(lease, device_name=source.device_name, memory_bytes=source.memory_bytes, problem=None)
        lane = self.make_lane(source, lease)
        thread = threading.Thread(target=lane.run, name=source.name)
        self.running[source.name] = RunningLane(lane=lane, thread=thread)
        thread.start()

    def _tell_unusable(self) -> None:
        for source in list(self.unusable):
            if not self.told:
                log.error("source.unusable", source=source.name, reason=source.problem)
            lease = take_lease(self.sources, source.name)
            if lease is not None:  # else another TaskScheduling can use it, or has ended without a word
                self.sources.describe(
                    lease,
                    device_name=source.device_name,
                    memory_bytes=source.memory_bytes,
                    problem=source.problem,
                )
                self.unusable.remove(source)
        self.told = True

    def _end_lanes(self) -> None:
        """Ask all lanes to end, keep their leases meanwhile, and give these back."""
        self.engine.end_spare()
        for running in self.running.values():
            running.lane.stop()
        beat_at = time.monotonic()
        while any(running.thread.is_alive() for running in self.running.values()):
            if time.monotonic() >= beat_at:
                self._renew_all()
                beat_at = time.monotonic() + self.beat_seconds
            self.engine.serve_requests()
            for running in self.running.values():
                running.thread.join(JOIN_SECONDS)
        for running in self.running.values():
            try:
                self.sources.release(running.lane.lease)
            except DatabaseUnavailable:
                return  # they run out

    def _renew_all(self) -> None:
        try:
            for running in self.running.values():
                self.sources.renew(running.lane.lease)
        except DatabaseUnavailable as error:
            log.warning("database.lost", reason=str(error))
