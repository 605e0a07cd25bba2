"""One compute source's way of tickets: claim the oldest, hand it to the worker, record progress and the end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    MOST_UNDER_WAY,
    DeviceBroken,
    DiskFull,
    Estimated,
    FromWorker,
    GiveUp,
    Loaded,
    Loading,
    Measured,
    NotOffered,
    Offered,
    OfOneJob,
    Outgrown,
    Packed,
    Performed,
    Performing,
    Progress,
    Reloaded,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
    WorkerReady,
)
from tomaat.processes.log import frames_of
from tomaat.processes.waker import Waker
from tomaat.scheduling.claims import Claims
from tomaat.scheduling.ends import End, Ends, Fail, Lose, PutBack, SpendAttempt, Succeed
from tomaat.scheduling.estimates import Estimates
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.local_engine import LocalEngine
from tomaat.scheduling.reloads import Reloads
from tomaat.scheduling.room import Room
from tomaat.scheduling.running_tickets import RunningTicket, Stage
from tomaat.scheduling.sealer import Sealer
from tomaat.scheduling.verdicts import end_due, end_of_worker, end_told
from tomaat.scheduling.worker_keeper import RETRY_SECONDS, LeaseLost, Stopping, WorkerEnded, WorkerKeeper
from tomaat.storage import Storage
from tomaat.storage.disk import is_disk_full
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.problems import loading_too_long, result_not_stored, server_fault
from tomaat.tickets.reload_store import ReloadAsked, ReloadStore
from tomaat.tickets.source_store import Lease, SourceStore

log = structlog.get_logger()


class Lane:
    """Runs in a thread of its own, from when the source's lease was taken until it is lost or the door stops.

    At most one ticket performs. While it does, the next one's volumes are read ahead, unclaimed, and the result of the
    last one is packed by the worker and sealed here.
    """

    def __init__(
        self,
        source: ComputeSource,
        store: LaneStore,
        sources: SourceStore,
        storage: Storage,
        engine: LocalEngine,
        *,
        attempts: int,
        times: LaneTimes,
        kept: KeptTasks,
        reloads: ReloadStore,
    ) -> None:
        self.source = source
        self.store = store
        self.storage = storage
        self.times = times
        self.log = log.bind(source=source.name)
        self.waker = Waker()
        self.keeper = WorkerKeeper(
            source,
            sources,
            store.lease,
            engine,
            self.log,
            times=times,
            waker=self.waker,
            ending=self._ending,
            kept=kept,
        )
        self.reloads = Reloads(reloads, self.keeper, self.log)
        self.claims = Claims(source.name, store, storage, self.keeper, self.log)
        self.estimates = Estimates(store, storage, self.keeper)
        self.room = Room(storage.base, self.log)
        self.sealer = Sealer(storage, source.name, self.wake)
        self.ends = Ends(store, self.log, attempts=attempts)
        self.running: list[RunningTicket] = []
        self.about: RunningTicket | None = None  #: the ticket that is looked at
        self.look_at = 0.0
        self.stop_asked = False
        self.lease_lost = False

    @property
    def lease(self) -> Lease:
        """The lease under which this lane claims."""
        return self.store.lease

    def wake(self) -> None:
        """Let the lane look again; any thread may call it."""
        self.waker.wake()

    def reload(self, asked: ReloadAsked) -> None:
        """Let the worker load changed tasks as soon as the device is free; any thread may call it."""
        self.reloads.ask(asked)
        self.wake()

    def stop(self) -> None:
        """Ask the lane to end; running tickets get the grace time, then they are put back."""
        self.stop_asked = True
        self.wake()

    def abandon(self) -> None:
        """End the lane because somebody else holds the source now."""
        self.lease_lost = True
        self.wake()

    def close(self) -> None:
        """Give the lane's waker back; nobody may wake the lane any longer."""
        self.waker.close()

    def run(self) -> None:
        """Claim and run tickets until told to end; an error of ours ends one ticket and the worker, not the lane."""
        try:
            while self.running or not self._ending():
                try:
                    if self.running or self.keeper.ready():
                        self._step()
                except Stopping:
                    raise
                except Exception as error:  # noqa: BLE001 (the neighbours go on, whatever it is)
                    self._end_by_fault(error)
        except LeaseLost:
            self.lease_lost = True
        except Stopping:
            pass
        finally:
            self.keeper.end()
            self.sealer.close()

    def _end_by_fault(self, error: Exception) -> None:
        """Fail the ticket at which an error of ours came up; another one in the worker is put back.

        When that does not help either, the lane ends as if its lease were lost. The source is then taken afresh, and
        the manager takes back what ran.
        """
        reference = secrets.token_hex(4)
        self.log.error("lane.fault", reference=reference, error=type(error).__name__, frames=frames_of(error))
        self.keeper.failures += 1  # so that a fault which stays is met at long intervals
        self.keeper.end()
        at, self.about = self.about, None
        if at is not None and at.faulty:
            self.lease_lost = True
        for run in self.running:
            if run is at:
                run.faulty = True
                run.end_as(Lose() if self.lease_lost else Fail(problem=server_fault(reference), reason="our fault"))
            elif run.in_worker:
                run.end_as(PutBack())

    def _each_running(self) -> Iterator[RunningTicket]:
        """Go through the running tickets, and remember which one is looked at while something goes wrong."""
        for run in list(self.running):
            self.about = run
            yield run
        self.about = None

    def _ending(self) -> bool:
        return self.stop_asked or self.lease_lost

    def _step(self) -> None:
        """Carry out the ends that have come, claim if the device is free, and wait for news."""
        for run in self._each_running():
            self._follow(run)
        if self.keeper.loading_left(1.0) == 0.0:
            self._end_loading()
        if self.keeper.broken is not None and not any(run.holds_device for run in self.running):
            self._renew_worker()
        for run in self._each_running():
            if run.end is not None:
                self._carry_out(run.end, run)
        self.reloads.look()
        if self.keeper.complete and self.reloads.present is None and not any(run.holds_device for run in self.running):
            self.reloads.begin()
        if self.keeper.worker is not None and self._is_free():
            self._claim()
        if time.monotonic() >= self.look_at:
            self._look_round()
        message = self.keeper.receive(self._longest_wait())
        if message is None:
            self.look_at = 0.0
        else:
            self._hear(message)

    def _longest_wait(self) -> float:
        """Tell for how long nothing has to be done unless the worker, or somebody else, wakes the lane."""
        longest = self.times.poll_seconds
        if self.claims.outcome_unknown or any(run.stage is Stage.ENDING for run in self.running):
            longest = min(longest, RETRY_SECONDS)
        if self.keeper.has_news or any(run.progress for run in self.running):
            longest = min(longest, self.times.report_seconds)
        limited = [run.limits for run in self.running if run.in_worker and run.limits.due() is None]
        return min([self.keeper.loading_left(longest), *(limits.left(longest) for limits in limited)])

    # Claiming

    def _is_free(self) -> bool:
        """Tell whether the device is, and nothing else that is under way keeps the next ticket from it."""
        return (
            not self._ending()
            and self.keeper.broken is None
            and not self.reloads.waits
            and len(self.running) < MOST_UNDER_WAY
            and not any(run.holds_device or run.runs_alone for run in self.running)
            and self.room.is_there()
        )

    def _claim(self) -> None:
        """Claim a ticket, if one waits, and let the worker go on with it; look at once for the ticket after it."""
        run = self.claims.claim(self.running)
        if run is not None:
            self.running.append(run)
            try:
                self.claims.hand_over(run)
            except OSError as error:
                self._not_stored(run, error)
        if run is not None or self.keeper.ahead is not None:
            self.claims.look_ahead(self.running)

    # Following

    def _look_round(self) -> None:
        """Record progress, notice given-up tickets, look for the next one, and ask how long tickets will take."""
        self.look_at = time.monotonic() + self.times.report_seconds
        for run in self._each_running():
            if run.in_worker and not self._record(run):
                self._end_by_force(run, "lost")
        if self.keeper.worker is not None:
            self.keeper.tell_offers()
            self.claims.look_ahead(self.running)
            self.estimates.ask()

    def _record(self, run: RunningTicket) -> bool:
        """Write progress, if any, and notice that its client gave it up; ``False``: the ticket is ours no longer."""
        try:
            if run.progress is None:
                given_up = self.store.look(run.ticket)
            else:
                given_up = self.store.report(run.ticket, run.progress.fraction, run.progress.stage)
        except DatabaseUnavailable:
            return True  # the work goes on; its end is repeated until it is known
        run.progress = None
        if given_up and not run.give_up_told:
            self.keeper.tell(GiveUp(key=run.key))
            run.give_up_told = True
            if run.holds_device:
                run.limits.allow("too_slow_to_cancel", self.times.cancel_seconds)
        return given_up is not None

    def _hear(self, message: FromWorker | WorkerEnded) -> None:
        """Take a message from the worker."""
        match message:
            case WorkerEnded():
                self._lose_worker(message.ending)
            case Loading() | Loaded() | Offered() | NotOffered() | WorkerReady() | DeviceBroken():
                self.keeper.note(message)
            case Reloaded():
                self.reloads.hear(message)
            case Estimated():
                self.estimates.note(message)
            case Measured():
                self.keeper.note_measured(message)
                for run in self.running:
                    run.loading_seconds += message.loading_seconds if run.holds_device else 0.0
            case OfOneJob():
                for run in self._each_running():
                    if run.in_worker and run.key == message.key:
                        self._hear_of(run, message)

    def _hear_of(self, run: RunningTicket, message: OfOneJob) -> None:
        """Take a message about a running ticket."""
        match message:
            case Progress():
                run.progress = message
            case Performing() if run.stage is Stage.READING:
                run.stage = Stage.PERFORMING
            case Performed() if run.holds_device:
                run.stage = Stage.PACKING
                run.limits.allow_packing(self.times.pack_seconds)
            case Packed():
                run.seal(self.sealer.seal(run.out))
            case DiskFull():
                self._put_back_until_room(run)
            case TicketRefused() | TaskCrashed() | Outgrown() | TaskStopped():
                run.end_as(end_told(message, run.ticket, self.source))

    def _follow(self, run: RunningTicket) -> None:
        """Notice that a ticket is sealed, or has to be ended by force."""
        if run.in_worker:
            due = self._due(run)
            if due is not None:
                self._end_by_force(run, due)
        elif run.stage is Stage.SEALING and run.sealing is not None and run.sealing.done():
            try:
                sha256, size_bytes = run.sealing.result()
            except OSError as error:
                self._not_stored(run, error)
            else:
                self.keeper.note_success()
                run.end_as(Succeed(sha256=sha256, size_bytes=size_bytes, seconds=run.occupied_seconds))

    # Ending

    def _due(self, run: RunningTicket) -> str | None:
        """Tell why a ticket in the worker has to be ended now, if so; the result of another one is packed first."""
        if self.lease_lost:
            return "lost"
        if self.stop_asked:
            self._wait_for(run)
        due = run.limits.due()
        packs = any(other.stage is Stage.PACKING for other in self.running if other is not run)
        return None if due in {"deadline", "too_slow_to_cancel"} and packs else due

    def _wait_for(self, run: RunningTicket) -> None:
        """Let a running ticket go on for the grace time, and say once until when."""
        grace = timedelta(seconds=self.times.grace_seconds)
        if run.limits.allow("stopped", grace.total_seconds()) and grace:
            until = (datetime.now(timezone.utc) + grace).isoformat(timespec="seconds")
            self.log.info("ticket.waited_for", ticket=run.ticket.id, until=until, then="it is put back")

    def _end_by_force(self, run: RunningTicket, due: str) -> None:
        """End the worker because of one ticket, and put back another one that was in it."""
        self.keeper.end()
        run.end_as(end_due(due, run))
        for other in self.running:
            if other.in_worker:
                other.end_as(Lose() if self.lease_lost else PutBack())

    def _lose_worker(self, ending: str) -> None:
        """End the tickets that were in a worker that died: one alone spends an attempt, two run alone afterwards.

        A worker that loaded a network for no ticket in it died of that.
        """
        loading = self.keeper.loading
        self.keeper.suspect_loading()
        self.keeper.end()
        died = [run for run in self.running if run.in_worker]
        if not died:
            self.log.error("worker.died", ending=ending)
        for run in died:
            self.log.error("worker.died", ticket=run.ticket.id, claim=run.ticket.claim, ending=ending)
            alone = len(died) == 1 and (loading is None or self._loads_for(run, loading))
            if alone:
                self.keeper.note_death(run.ticket.service, ending)
            run.end_as(end_of_worker(ending, run.ticket, alone=alone))

    @staticmethod
    def _loads_for(run: RunningTicket, loading: Loading) -> bool:
        return run.stage is Stage.PERFORMING and run.ticket.service == loading.name

    def _end_loading(self) -> None:
        """End the worker because a loading lasts too long: a ticket that waits for it fails, others are put back."""
        loading, seconds = self.keeper.loading, self.keeper.load_deadline_seconds
        if loading is None:
            return
        self.keeper.leave_out(loading.name, f"it was not loaded within {seconds:g} s")
        self.keeper.end()
        for run in self.running:
            if run.in_worker and self._loads_for(run, loading):
                run.end_as(Fail(problem=loading_too_long(run.ticket.service, seconds), reason="not loaded"))
            elif run.in_worker:
                run.end_as(PutBack())

    def _renew_worker(self) -> None:
        """End a worker whose device is broken; what is packed in it is done again by the next one."""
        self.keeper.suspect_loading()
        self.keeper.end()
        for run in self.running:
            if run.in_worker:
                run.end_as(PutBack())

    def _carry_out(self, end: End, run: RunningTicket) -> None:
        """End a ticket, now or when the database is back.

        Raises ``Stopping`` when it is away, the lane has to end, and nothing else is waited for.
        """
        try:
            ended = self.ends.carry_out(end, run.ticket, run.out)
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", ticket=run.ticket.id, reason=str(error))
            if self._ending() and all(other.stage is Stage.ENDING for other in self.running):
                raise Stopping from error  # the files stay, since the ticket may have succeeded
        else:
            self.running.remove(run)
            if ended:
                self.storage.end_loan(run.ticket.folder)

    def _not_stored(self, run: RunningTicket, error: OSError) -> None:
        """Tell a full disk, which is waited out, from one that spends an attempt."""
        if is_disk_full(error, self.storage.base):
            self._put_back_until_room(run)
            return
        self.log.error("result.not_stored", ticket=run.ticket.id, error=type(error).__name__)
        run.end_as(SpendAttempt(problem=result_not_stored()))

    def _put_back_until_room(self, run: RunningTicket) -> None:
        """Let a ticket whose result does not fit wait, no attempt spent; the lane claims none before there is room."""
        self.room.lacks(run.ticket.id, run.out)
        run.end_as(PutBack())
