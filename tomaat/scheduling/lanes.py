"""A lane's way of tickets: claim the first of its source, hand it to the worker, record progress and the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone

import structlog

from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import (
    MOST_BRIEF,
    MOST_UNDER_WAY,
    DeviceBroken,
    DiskFull,
    Estimated,
    Expected,
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
    RoomMade,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
    WorkerReady,
)
from tomaat.processes.waker import Waker
from tomaat.scheduling.beside import LanesOfSource
from tomaat.scheduling.claims import Claims
from tomaat.scheduling.ends import Cancel, End, Ends, Fail, Lose, PutBack, SpendAttempt
from tomaat.scheduling.engine import Engine
from tomaat.scheduling.estimates import Estimates
from tomaat.scheduling.forced_ends import ForcedEnds
from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.reloads import Reloads
from tomaat.scheduling.room import Room
from tomaat.scheduling.running_tickets import RunningTicket, RunningTickets, Stage
from tomaat.scheduling.sealer import Sealer
from tomaat.scheduling.verdicts import end_told
from tomaat.scheduling.worker_keeper import RETRY_SECONDS, LeaseLost, Stopping, WorkerEnded, WorkerKeeper
from tomaat.storage import Storage
from tomaat.storage.disk import is_disk_full
from tomaat.tickets.lane_store import LaneStore, Success
from tomaat.tickets.problems import result_not_stored, without_details
from tomaat.tickets.reload_store import ReloadAsked, ReloadStore
from tomaat.tickets.source_store import Lease, SourceStore

log = structlog.get_logger()

GATHER_SECONDS = 0.01  #: for which the completion of a brief ticket waits for that of others
MOST_MESSAGES = 2 * MOST_BRIEF  #: of the worker that are taken before the lane looks after anything else
NEWS = (Offered, WorkerReady, Reloaded, RoomMade)  #: after such a message a ticket may start that waited for it


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
        engine: Engine,
        *,
        attempts: int,
        times: LaneTimes,
        kept: KeptTasks,
        reloads: ReloadStore,
        lanes: LanesOfSource,
    ) -> None:
        self.source = source
        self.store = store
        self.storage = storage
        self.times = times
        self.waker = Waker()
        self.beside = lanes.join(self.hear)
        self.log = log.bind(source=source.name, **({"lane": self.beside.number} if self.beside.number > 1 else {}))
        self.kept = kept
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
            beside=self.beside,
        )
        self.running = RunningTickets()
        self.forced = ForcedEnds(self.keeper, self.running, self.log)
        self.reloads = Reloads(reloads, self.keeper, kept, self.log)
        self.claims = Claims(
            source.name,
            store,
            storage,
            self.keeper,
            self.running,
            log=self.log,
            look_seconds=times.look_seconds,
            beside=self.beside,
        )
        self.estimates = Estimates(store, storage, self.keeper)
        self.room = Room(storage.base, self.log)
        self.sealer = Sealer(storage, source.name, self.wake)
        self.ends = Ends(store, self.log, attempts=attempts)
        self.looked_at = 0.0
        self.heard = False  #: something may wait in the queue
        self.wished = False  #: somebody may want something of a ticket that runs
        self.gathers = False  #: tickets that have succeeded are not completed yet: others will end in a moment
        self.stop_asked = False
        self.lease_lost = False

    @property
    def lease(self) -> Lease:
        """The lease under which this lane claims."""
        return self.store.lease

    def wake(self) -> None:
        """Let the lane look again; any thread may call it."""
        self.waker.wake()

    def hear(self, *, at_once: bool = False) -> None:
        """Let the lane look at its queue, and ``at_once`` at its tickets; any thread may call it."""
        self.heard = True
        self.wished |= at_once
        self.wake()

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
        """Claim and run tickets until told to end; an error of ours ends one ticket and the worker, not the lane.

        When that does not help either, the lane ends as if its lease were lost. The source is then taken afresh, and
        the manager takes back what ran.
        """
        try:
            while self.running or not self._ending():
                try:
                    if self.running or self.keeper.ready():
                        self._step()
                except Stopping:
                    raise
                except Exception as error:  # noqa: BLE001 (the neighbours go on, whatever it is)
                    if not self.forced.by_fault(error):
                        self.lease_lost = True
        except LeaseLost:
            self.lease_lost = True
        except Stopping:
            pass
        finally:
            self.beside.end_turn()
            try:
                self.keeper.end()
            finally:
                self.sealer.close()

    def _ending(self) -> bool:
        return self.stop_asked or self.lease_lost

    def _step(self) -> None:
        """Carry out the ends that have come, claim if the device is free, and wait for news."""
        self._take_notice()
        self._end_by_force()
        self._carry_out_ends()
        self.claims.turns.end()
        self.reloads.look()
        if self.keeper.offering.complete and self.reloads.present is None and not self.running.hold_device:
            self.reloads.begin()
        if self.keeper.worker is not None and self._is_free():
            self._claim()
            self.claims.tell_idle()
        else:
            self.beside.end_turn()
            if self.claims.outcome_unknown and self.keeper.worker is not None and self.running.hold_device:
                self._begin(self.claims.recover())
            elif self.running:
                self.claims.look_ahead()
        if self.estimates.due and self.keeper.worker is not None:
            self.estimates.ask()
        self._give_turn()
        if self._look_left() <= 0:
            self._look_round()
        self._listen()

    def _listen(self) -> None:
        """Wait for a message of the worker, or for what wakes the lane, and take the messages that are there."""
        self._take(self.keeper.receive(self._longest_wait()))
        for _ in range(MOST_MESSAGES):
            if not self.keeper.has_message:
                return
            self._take(self.keeper.receive(0.0))

    def _take(self, message: FromWorker | WorkerEnded | None) -> None:
        if message is not None:
            self._hear(message)
        if isinstance(message, NEWS):
            self.claims.note_news(forget=True)
            self.estimates.due = True

    def _take_notice(self) -> None:
        """Take what was heard since the last step."""
        if self.heard:
            self.heard = False
            self.claims.note_news()
            self.estimates.due = True
        if self.wished:
            self.wished, self.looked_at = False, 0.0
            self.claims.note_news(forget=True)

    def _look_left(self) -> float:
        """Tell in how many seconds the lane looks round again: soon if there is something to record."""
        has_news = self.keeper.offering.has_news or any(run.progress for run in self.running)
        every = self.times.report_seconds if has_news else self.times.poll_seconds
        return self.looked_at + every - time.monotonic()

    def _longest_wait(self) -> float:
        """Tell for how long nothing has to be done unless the worker, or somebody else, wakes the lane."""
        longest = self._look_left()
        ending = [run for run in self.running if run.stage is Stage.ENDING]
        if self.claims.outcome_unknown or ending:
            longest = min(longest, RETRY_SECONDS)
        if ending and self.gathers:
            longest = min(longest, max(0.0, self._gathering_left(len(ending))))
        for run in self.running:
            if (left := run.ends_soon_until - time.monotonic()) > 0:
                longest = min(longest, left)
        limited = [run.limits for run in self.running.in_worker if run.limits.due() is None]
        return min([self.keeper.offering.loading_left(longest), *(limits.left(longest) for limits in limited)])

    # Claiming

    def _places(self, *, without: Sequence[RunningTicket] = ()) -> int:
        """Tell how many tickets may be claimed now: one where the device is free, several as long as all are brief.

        Those that end now count no longer: ``without`` them.
        """
        under_way = [run for run in self.running if run not in without]
        if self._ending() or self.reloads.waits or any(run.runs_alone for run in under_way) or not self.room.is_there():
            return 0
        if self.running.are_brief and self.claims.turns.are_needless:
            return max(0, self.beside.share_of(MOST_BRIEF) - len(under_way))
        return int(len(under_way) < MOST_UNDER_WAY and not any(run.holds_device for run in under_way))

    def _is_free(self) -> bool:
        """Tell whether the device is, and nothing else that is under way keeps the next ticket from it."""
        return (
            not self.running.hold_device
            and not any(run.ends_soon_until > time.monotonic() for run in self.running)
            and self._places() > 0
        )

    def _claim(self) -> None:
        """Claim a ticket, if one waits, and let the worker go on with it, and read the ticket after it."""
        claimed = self.claims.claim()
        if claimed or self.keeper.ahead is not None:
            self._begin(claimed)

    def _begin(self, claimed: Sequence[RunningTicket]) -> None:
        """Let the worker go on with claimed tickets, and read the ticket after them."""
        if claimed and not self.running:
            self.looked_at = time.monotonic()  # there is nothing to record yet
        for run in claimed:
            self.running.add(run)
            try:
                self.claims.hand_over(run)
            except OSError as error:
                self._not_stored(run, error)
        self.running.about = None
        self.claims.read_ahead()

    def _give_turn(self) -> None:
        """Let the ticket count that has the device by now."""
        first = self.running.first
        if first is not None and first.turn_at is None:
            for other in self.running:
                other.relieve()
            self.claims.give_turn(first)

    # Following

    def _look_round(self) -> None:
        """Record progress, notice given-up tickets, look for the next one, and ask how long tickets will take."""
        self.looked_at = time.monotonic()
        for run in self.running.each():
            if run.in_worker and not self._record(run):
                self.forced.end_for(run, Lose())
        if self.keeper.worker is not None:
            self.keeper.offering.tell()
            if (self.running or self.claims.may_wait) and self.beside.is_first:
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
        if given_up and run is self.running.first:
            run.limits.allow(self.times.cancel_seconds, Cancel())
        return given_up is not None

    def _hear(self, message: FromWorker | WorkerEnded) -> None:
        """Take a message from the worker."""
        match message:
            case WorkerEnded():
                self.forced.by_death(message.ending)
            case Loading() | Loaded() | Offered() | NotOffered() | WorkerReady() | DeviceBroken() | RoomMade():
                self.keeper.note(message)
            case Reloaded():
                self.reloads.hear(message)
            case Estimated():
                self.estimates.note(message)
            case Expected() | Measured():
                self._hear_of_memory(message)
            case OfOneJob():
                for run in self.running.each():
                    if run.in_worker and run.key == message.key:
                        self._hear_of(run, message)

    def _hear_of_memory(self, message: Expected | Measured) -> None:
        """Take what a service needs, as foretold or measured."""
        if isinstance(message, Expected):
            self.keeper.offering.note_expected(message)
            return
        self.keeper.offering.note_measured(message)
        for run in self.running:
            run.loading_seconds += message.loading_seconds if run is self.running.first else 0.0

    def _hear_of(self, run: RunningTicket, message: OfOneJob) -> None:
        """Take a message about a running ticket."""
        match message:
            case Progress():
                run.progress = message
            case Performing() if run.stage is Stage.READING:
                self._give_turn()
                run.perform()
            case Performed() if run.holds_device:
                run.pack()
                if not self.keeper.offering.reads_files(run.ticket.service):
                    self.running.note_performed(run)
                run.limits.allow_packing(self.times.pack_seconds)
            case Packed():
                run.seal(self.sealer.seal(run.out))
            case DiskFull():
                self._await_room(run)
            case Outgrown(needed_bytes=None) | Outgrown(now=True) | TicketRefused(now=True) if (
                self.claims.turns.was_crowded(run)
            ):
                self.log.warning("ticket.crowded", ticket=run.ticket.id, then="it is put back, and runs alone")
                run.end_as(PutBack())
            case TicketRefused() | TaskCrashed() | Outgrown() | TaskStopped():
                run.end_as(end_told(message, run.ticket, self.source))

    # Ending

    def _end_by_force(self) -> None:
        """End the worker where a ticket in it, a loading or the device asks for that; note what was sealed."""
        if self.lease_lost and self.running.in_worker:
            self.forced.end_worker(lambda _: Lose())
        for run in self.running.each():
            if run.in_worker and (end := self._due(run)) is not None:
                self.forced.end_for(run, end)
            elif run.stage is Stage.SEALING:
                self._note_sealed(run)
        if self.keeper.offering.loading_left(1.0) == 0.0:
            self.forced.by_loading()
        if self.keeper.broken is not None and not self.running.hold_device:
            self.forced.by_broken_device()

    def _due(self, run: RunningTicket) -> End | None:
        """Tell how a ticket in the worker has to end now, if so; the result of another one is packed first."""
        if self.stop_asked:
            self._wait_for(run)
        end = run.limits.due()
        packs = any(other.stage is Stage.PACKING for other in self.running if other is not run)
        return None if packs and isinstance(end, Fail | Cancel) else end

    def _wait_for(self, run: RunningTicket) -> None:
        """Let a running ticket go on for the grace time, and say once until when."""
        grace = timedelta(seconds=self.times.grace_seconds)
        if run.limits.allow(grace.total_seconds(), PutBack()) and grace:
            until = (datetime.now(timezone.utc) + grace).isoformat(timespec="seconds")
            self.log.info("ticket.waited_for", ticket=run.ticket.id, until=until, then="it is put back")

    def _note_sealed(self, run: RunningTicket) -> None:
        """End a ticket whose result has been made durable."""
        if run.sealing is None or not run.sealing.done():
            return
        try:
            sha256, size_bytes = run.sealing.result()
        except OSError as error:
            self._not_stored(run, error)
        else:
            self.keeper.suspects.note_success()
            seconds = run.occupied_seconds
            run.end_as(Success(ticket=run.ticket, sha256=sha256, size_bytes=size_bytes, seconds=seconds))

    def _carry_out_ends(self) -> None:
        """End the tickets whose end has come, all that succeed together."""
        for run in self.running.each():
            if run.end is not None and not isinstance(run.end, Success):
                self._carry_out(run.end, run)
        successes = {run: run.end for run in self.running if isinstance(run.end, Success)}
        self.gathers = bool(successes) and self._gathering_left(len(successes)) > 0
        if successes and not self.gathers:
            self._complete(successes)

    def _gathering_left(self, successes: int) -> float:
        """Tell for how many seconds the completion of brief tickets waits for others, to be one statement for all."""
        if successes == len(self.running) or successes >= MOST_BRIEF // 2 or not self.running.are_brief:
            return 0.0
        first = min(run.ending_at for run in self.running if run.stage is Stage.ENDING)
        return first + GATHER_SECONDS - time.monotonic()

    def _carry_out(self, end: End, run: RunningTicket) -> None:
        """End a ticket that has no result, now or when the database is back. Raises ``Stopping`` as ``_complete``."""
        self.claims.tell_idle(after=[run])
        try:
            ended = self.ends.carry_out(end, run.ticket, run.out)
        except DatabaseUnavailable as error:
            self._wait_for_database([run], error)
        except RowRefused as error:
            self._end_otherwise(end, run, error)
        else:
            self._forget(run, ended=ended)

    def _complete(self, successes: Mapping[RunningTicket, Success]) -> None:
        """Complete tickets whose results are sealed, and claim the next ones in the same statement if they may start.

        It is repeated until the database is back. Raises ``Stopping`` when it is away, the lane has to end, and nothing
        else is waited for.
        """
        runs, ends = list(successes), list(successes.values())
        claimed: list[RunningTicket] = []
        self.claims.tell_idle(after=runs)
        places = self._places(without=runs)
        self.running.about = runs[0]
        try:
            if places and self.claims.can_be_joined:
                kept, claimed = self.claims.succeed_and_claim(ends, most=places)
            else:
                kept = self.store.succeed_all(ends)
        except DatabaseUnavailable as error:
            self._wait_for_database(runs, error)
        except RowRefused as error:
            if len(runs) == 1:
                self._end_otherwise(ends[0], runs[0], error)
            else:  # it is the fault of one of them
                for run, end in successes.items():
                    self._complete({run: end})
        else:
            for run, end in successes.items():
                self._forget(run, ended=self.ends.note_success(end, run.out, kept=run.ticket.id in kept))
            if claimed:
                self._begin(claimed)
        self.running.about = None

    def _wait_for_database(self, runs: Sequence[RunningTicket], error: DatabaseUnavailable) -> None:
        for run in runs:
            self.log.warning("database.lost", ticket=run.ticket.id, reason=str(error))
        if self._ending() and all(run.stage is Stage.ENDING for run in self.running):
            raise Stopping from error  # the files stay, since the tickets may have succeeded

    def _forget(self, run: RunningTicket, *, ended: bool) -> None:
        """Let a ticket go whose end is known."""
        self.running.remove(run)
        if ended:
            self.beside.forget_crowded(run.ticket.id)
            self.storage.end_loan(run.ticket.folder)

    def _end_otherwise(self, end: End, run: RunningTicket, error: RowRefused) -> None:
        """Fail a ticket whose end PostgreSQL refuses; one whose failure it refuses, too, is left as it is."""
        self.log.error("ticket.end_refused", ticket=run.ticket.id, end=type(end).__name__, reason=str(error))
        if isinstance(end, Fail):
            self.claims.abandoned.append(run.ticket.id)
            run.end_as(Lose())
        else:
            run.end_as(Fail(problem=without_details(), reason="its end was refused"))

    def _not_stored(self, run: RunningTicket, error: OSError) -> None:
        """Tell a full disk, which is waited out, from one that spends an attempt."""
        if is_disk_full(error, self.storage.base):
            self._await_room(run)
            return
        self.log.error("result.not_stored", ticket=run.ticket.id, error=type(error).__name__)
        run.end_as(SpendAttempt(problem=result_not_stored()))

    def _await_room(self, run: RunningTicket) -> None:
        """Claim no ticket before there is room for a result that did not fit; one that never will spends an attempt."""
        waits = self.room.may_come(run.ticket.id, run.out)
        run.end_as(PutBack() if waits else SpendAttempt(problem=result_not_stored()))
