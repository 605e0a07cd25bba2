"""One compute source's way of tickets: claim the oldest, hand it to the worker, record progress and the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.devices.compute_source import ComputeSource
from tomaat.processes.waker import Waker
from tomaat.scheduling.ends import Ends
from tomaat.scheduling.estimates import Estimates
from tomaat.scheduling.held_worker import HeldWorker
from tomaat.scheduling.local_engine import LocalEngine
from tomaat.scheduling.patience import Patience
from tomaat.scheduling.running_tickets import RunningTicket
from tomaat.scheduling.worker_keeper import RETRY_SECONDS, LeaseLost, Stopping, WorkerKeeper
from tomaat.storage import Storage
from tomaat.storage.disk import LEAST_ROOM_BYTES, bytes_below, is_disk_full
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.problems import deadline_passed, result_not_stored, worker_died
from tomaat.tickets.source_store import Lease, SourceStore
from tomaat.tickets.ticket import Ticket
from tomaat.worker.job import DRAFT, MOST_UNDER_WAY

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
        patience: Patience,
    ) -> None:
        self.source = source
        self.store = store
        self.storage = storage
        self.patience = patience
        self.log = log.bind(source=source.name)
        self.waker = Waker()
        self.keeper = WorkerKeeper(
            source,
            sources,
            store.lease,
            engine,
            self.log,
            patience=patience,
            waker=self.waker,
            ending=self._ending,
        )
        self.ends = Ends(store, self.log, attempts=attempts)
        self.estimates = Estimates(store, storage)
        self.running: list[RunningTicket] = []
        self.sealer = ThreadPoolExecutor(1, thread_name_prefix=f"seal {source.name}")
        self.outcome_unknown = False
        self.room_bytes = 0
        self.look_at = 0.0
        self.stop_asked = False
        self.lease_lost = False

    @property
    def worker(self) -> HeldWorker | None:
        """The worker that this lane holds now."""
        return self.keeper.worker

    @property
    def lease(self) -> Lease:
        """The lease under which this lane claims."""
        return self.store.lease

    def wake(self) -> None:
        """Let the lane look again; any thread may call it."""
        self.waker.wake()

    def stop(self) -> None:
        """Ask the lane to end; running tickets get the grace time, then they are put back."""
        self.stop_asked = True
        self.wake()

    def abandon(self) -> None:
        """End the lane because somebody else holds the source now."""
        self.lease_lost = True
        self.wake()

    def run(self) -> None:
        """Claim and run tickets until told to end."""
        try:
            while self.running or not self._ending():
                if self.running or self.keeper.ready():
                    self._step()
        except LeaseLost:
            self.lease_lost = True
        except Stopping:
            pass
        finally:
            self.keeper.end()
            self.sealer.shutdown()

    def close(self) -> None:
        """Give back what wakes the lane; nobody may wake it any longer."""
        self.waker.close()

    def _ending(self) -> bool:
        return self.stop_asked or self.lease_lost

    # Claiming

    def _step(self) -> None:
        """Bring to its end what has come to it, claim if the device is free, and hear what is new."""
        for run in self.running:
            self._follow(run)
        for run in list(self.running):
            if run.move is not None:
                self._settle(run, run.move)
        if self.worker is not None and self._is_free():
            self._claim_next(self.worker)
        if time.monotonic() >= self.look_at:
            self._look_round()
        message = self.keeper.receive(self._longest_wait())
        if message is None:
            self.look_at = 0.0
        else:
            self._hear(message)

    def _is_free(self) -> bool:
        """Tell whether the device is, and nothing else that is under way keeps the next ticket from it."""
        return (
            not self._ending()
            and len(self.running) < MOST_UNDER_WAY
            and not any(run.performs or run.runs_alone for run in self.running)
            and self._has_room()
        )

    def _has_room(self) -> bool:
        """Tell, after a result found the disk full, whether there is room for such a one."""
        if self.room_bytes and shutil.disk_usage(self.storage.base).free >= self.room_bytes:
            self.log.info("storage.has_room")
            self.room_bytes = 0
        return not self.room_bytes

    def _claim_next(self, worker: HeldWorker) -> None:
        """Claim a ticket, if one waits, and let the worker go on with it; look at once what comes after it."""
        ticket = self._claim(worker)
        if ticket is not None:
            self.log.info("ticket.claimed", ticket=ticket.id, service=ticket.service, claim=ticket.claim)
            self._hand_over(ticket, worker)
        if ticket is not None or worker.ahead is not None:
            self._look_ahead(worker)

    def _claim(self, worker: HeldWorker) -> Ticket | None:
        try:
            if self.outcome_unknown:
                ticket = self.store.left_running(known=[run.ticket.id for run in self.running])
                self.outcome_unknown = False
                if ticket is not None:
                    return ticket
            beside_another = any(run.in_worker for run in self.running)
            ticket = self.store.claim(worker.interface_hashes, beside_another=beside_another)
            if ticket is None and not self.running:
                self.store.ask_for_work()
        except DatabaseUnavailable as error:
            if not self.outcome_unknown:
                self.log.warning("database.lost", reason=str(error))
            self.outcome_unknown = True
            return None
        return ticket

    def _hand_over(self, ticket: Ticket, worker: HeldWorker) -> None:
        """Let the worker read, perform and pack a claimed ticket."""
        folder = self.storage.ticket(ticket.folder)
        deadline_seconds = float(worker.offers[ticket.service]["offer"]["deadline_seconds"])
        for other in self.running:
            other.relieve()
        run = RunningTicket(ticket, folder.claim(ticket.claim), deadline_seconds=deadline_seconds)
        self.running.append(run)
        try:
            shutil.rmtree(run.out, ignore_errors=True)
            run.out.mkdir(mode=0o700, parents=True)
        except OSError as error:
            self._not_stored(run, error)
            return
        worker.ahead = None
        worker.tell(
            {
                "do": "perform",
                "key": run.key,
                "service": ticket.service,
                "inputs": str(folder.inputs),
                "out": str(run.out),
                "source": self.source.name,
            }
        )

    def _look_ahead(self, worker: HeldWorker) -> None:
        """Let the worker read, while it is busy, what waits next: nothing is claimed by that.

        Nothing is read beside a ticket that runs alone, nor is such a ticket.
        """
        ticket = None
        if self.outcome_unknown:
            return
        if self.running and not any(run.runs_alone for run in self.running):
            try:
                ticket = self.store.next_queued(worker.interface_hashes)
            except DatabaseUnavailable:
                return
        if ticket is not None and ticket.claim == 0:
            if worker.ahead != ticket.id:
                inputs = self.storage.ticket(ticket.folder).inputs
                worker.tell({"do": "prepare", "service": ticket.service, "inputs": str(inputs)})
                worker.ahead = ticket.id
        elif worker.ahead is not None:
            worker.tell({"do": "forget"})
            worker.ahead = None

    # Following

    def _longest_wait(self) -> float:
        """Tell for how long nothing has to be done unless the worker, or somebody else, wakes the lane."""
        longest = self.patience.poll_seconds
        if self.outcome_unknown or any(run.move for run in self.running):
            longest = min(longest, RETRY_SECONDS)
        if any(run.report for run in self.running):
            longest = min(longest, self.patience.report_seconds)
        limited = [run.limits for run in self.running if run.in_worker and run.limits.due() is None]
        return min([longest, *(limits.left(longest) for limits in limited)])

    def _look_round(self) -> None:
        """Record progress, hear who was given up, look what waits next, and ask how long it will take."""
        self.look_at = time.monotonic() + self.patience.report_seconds
        for run in self.running:
            if run.in_worker and not self._record(run):
                self._end_by_force(run, "lost")
        if self.worker is not None:
            self._look_ahead(self.worker)
            self.estimates.ask(self.worker)

    def _record(self, run: RunningTicket) -> bool:
        """Write progress, if any, and hear whether the client gave the ticket up; ``False``: not ours any longer."""
        try:
            if run.report is None:
                given_up = self.store.look(run.ticket)
            else:
                given_up = self.store.report(run.ticket, run.report["fraction"], run.report["stage"])
        except DatabaseUnavailable:
            return True  # the work goes on; its end is repeated until it is known
        run.report = None
        if given_up and not run.cancel_told and self.worker is not None:
            self.worker.tell({"do": "cancel", "key": run.key})
            run.cancel_told = True
            if run.performs:
                run.limits.allow("too_slow_to_cancel", self.patience.cancel_seconds)
        return given_up is not None

    def _hear(self, message: dict[str, Any]) -> None:
        """Take a message of the worker's."""
        if message["is"] == "ended":
            self._lose_worker(message["ending"])
        elif message["is"] == "estimated":
            if self.worker is not None:
                self.worker.estimating = False
            self.estimates.note(message["seconds"])
        elif message["is"] == "needs":
            self.keeper.note_needs(message)
            for run in self.running:
                run.loading_seconds += message["loading_seconds"] if run.performs else 0.0
        else:
            for run in self.running:
                if run.in_worker and run.key == message["key"]:
                    self._hear_of(run, message)

    def _hear_of(self, run: RunningTicket, message: dict[str, Any]) -> None:
        """Take what the worker says of a running ticket."""
        if message["is"] == "progress":
            run.report = message
        elif message["is"] == "performed":
            run.performed = True
            run.limits.allow_packing(self.patience.pack_seconds)
        elif message["is"] == "done":
            run.sealing = self.sealer.submit(self._seal, run.out)
            run.sealing.add_done_callback(lambda _: self.wake())
        elif message["is"] == "cancelled":
            run.move = partial(self.ends.cancel, run)
        elif message["is"] == "disk_full":
            self._put_back_until_room(run)
        elif message["is"] == "outgrown":
            run.move = partial(self.ends.outgrow, run, self.source.memory_bytes, message["problem"])
        else:  # refused, crashed
            run.move = partial(self.ends.fail, run, message["problem"], message["is"])

    def _seal(self, out: Path) -> tuple[str, int]:
        """Make a packed result durable, in a thread of its own: a slow disk holds up no other ticket."""
        shutil.rmtree(out / "files")
        return self.storage.seal_result(out / DRAFT)

    def _follow(self, run: RunningTicket) -> None:
        """Notice that a ticket is sealed, or has to be ended by force."""
        if run.in_worker:
            due = self._due(run)
            if due is not None:
                self._end_by_force(run, due)
        elif run.move is None and run.sealing is not None and run.sealing.done():
            try:
                sha256, size_bytes = run.sealing.result()
            except OSError as error:
                self._not_stored(run, error)
            else:
                run.move = partial(self.ends.succeed, run, sha256, size_bytes, run.occupied_seconds)

    # Ending

    def _due(self, run: RunningTicket) -> str | None:
        """Tell why a ticket in the worker has to be ended now, if so; the result of another one is packed first."""
        if self.lease_lost:
            return "lost"
        if self.stop_asked:
            run.limits.allow("stopped", self.patience.grace_seconds)
        due = run.limits.due()
        if due in {"deadline", "too_slow_to_cancel"} and any(other.packs for other in self.running if other is not run):
            return None
        return due

    def _end_by_force(self, run: RunningTicket, due: str) -> None:
        """End the worker because of one ticket, and put back another one that was in it."""
        self.keeper.end()
        if due == "deadline":
            problem = deadline_passed(run.ticket.service, run.deadline_seconds)
            run.move = partial(self.ends.fail, run, problem, due)
        elif due == "too_slow_to_cancel":
            run.move = partial(self.ends.cancel, run)
        elif due == "not_packed":
            run.move = partial(self.ends.give_up_attempt, run, result_not_stored())
        elif due == "lost":
            run.move = partial(self.ends.lose, run)
        for other in self.running:
            if other.in_worker:  # run itself too, when the door stops
                other.move = partial(self.ends.lose if self.lease_lost else self.ends.put_back, other)

    def _lose_worker(self, ending: str) -> None:
        """Judge the tickets that were in a worker that died.

        One alone spends an attempt. Of two, nobody knows which one it died of: both are put back, to run alone.
        """
        self.keeper.end()
        died = [run for run in self.running if run.in_worker]
        if not died:
            self.log.error("worker.died", ending=ending)
        for run in died:
            self.log.error("worker.died", ticket=run.ticket.id, claim=run.ticket.claim, ending=ending)
            if len(died) == 1:
                problem = worker_died(ending, run.ticket.attempts + 1)
                run.move = partial(self.ends.give_up_attempt, run, problem)
            else:
                run.move = partial(self.ends.put_back, run)

    def _settle(self, run: RunningTicket, move: Callable[[], bool]) -> None:
        """Make the move that ends a ticket, now or when the database is back.

        Raises ``Stopping`` when it is away, the lane has to end, and nothing else is waited for.
        """
        try:
            kept = move()
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", ticket=run.ticket.id, reason=str(error))
            if self._ending() and all(other.move for other in self.running):
                raise Stopping from error  # the files stay, since the move may have been made
            return
        self.running.remove(run)
        if not kept:
            shutil.rmtree(run.out, ignore_errors=True)

    def _not_stored(self, run: RunningTicket, error: OSError) -> None:
        """Tell a full disk, which is waited out, from one that spends an attempt."""
        if is_disk_full(error, self.storage.base):
            self._put_back_until_room(run)
            return
        self.log.error("result.not_stored", ticket=run.ticket.id, error=type(error).__name__)
        run.move = partial(self.ends.give_up_attempt, run, result_not_stored())

    def _put_back_until_room(self, run: RunningTicket) -> None:
        """Let a ticket whose result does not fit wait, no attempt spent; the lane claims none before there is room."""
        self.room_bytes = max(LEAST_ROOM_BYTES, 2 * bytes_below(run.out))
        self.log.error("storage.full", ticket=run.ticket.id, waits_for_free_bytes=self.room_bytes)
        run.move = partial(self.ends.put_back, run)
