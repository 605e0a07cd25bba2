"""Give tickets to queues, round after round, for QueueManager."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import structlog

from tomaat.database import IDLE, DatabaseUnavailable, Hint, Hints, RowRefused
from tomaat.manager.choosing import assign, rebalance
from tomaat.manager.duties import Duties
from tomaat.manager.fitting import fitting, misfits, unfit
from tomaat.manager.steady_clock import SteadyClock
from tomaat.manager.sweep import Permit, Sweep
from tomaat.manager.turns import LastTurns
from tomaat.manager.withdrawals import Withdrawals
from tomaat.processes.stop import Stop
from tomaat.tickets.manager_store import MOST_AT_ONCE, ManagerStore, Within
from tomaat.tickets.question_store import CLOCK, QuestionStore
from tomaat.tickets.queue import Queue, Share
from tomaat.tickets.source_store import MANAGER_LEASE, LastHolder, Lease, SourceStore, take_lease

log = structlog.get_logger()

PAUSE_SECONDS = 0.02  #: between two rounds while no source is idle, so that one statement moves many tickets
COUNT_SECONDS = 5.0  #: between two times that is counted what each key has used, while tickets come
COUNT_ANYWAY_SECONDS = 60.0  #: the same, while none comes
CLAIM_SECONDS = 1.0  #: in which an idle source claims a ticket that it was given


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The settings by which the manager works."""

    attempts: int
    wait_limit_hours: float
    retention_hours: float
    fetched_grace_seconds: float | None  #: ``None``: results that were fetched are kept
    ticket_days: float
    audit_days: float
    poll_seconds: float
    lease_seconds: float
    clock_steady_seconds: float


class Manager:
    """Holds the manager's lease and does one round at a time.

    Between two rounds it remembers only what spares a look, and the last turns that it gave. A look is spared by which
    sources have tickets that wait there, and which tickets they are about to claim.
    """

    def __init__(
        self,
        store: ManagerStore,
        sources: SourceStore,
        questions: QuestionStore,
        sweep: Sweep,
        withdrawals: Withdrawals,
        *,
        rules: Rules,
    ) -> None:
        self.store = store
        self.sources = sources
        self.questions = questions
        self.sweep = sweep
        self.withdrawals = withdrawals
        self.rules = rules
        self.lease: Lease | None = None
        self.connected_at: float | None = None
        self.renew_at = 0.0
        self.duties_at = 0.0
        self.given: dict[int, float] = {}  #: tickets, and until when the idle sources that got them may claim them
        self.crowded: set[str] = set()  #: sources where tickets wait that are not about to be claimed
        self.waits = True  #: some ticket, by this round's look
        self.all_busy = False  #: as far as is known, no source is idle
        self.shares: dict[str, Share] = {}  #: of the keys, as they were counted last
        self.turns: dict[str, LastTurns] = {}  #: of the keys in each queue where any ticket waits
        self.counted_at = -math.inf
        self.said_held = False
        self.clock = SteadyClock(store.now, tolerance_seconds=rules.lease_seconds)
        self.machine = SteadyClock(lambda: datetime.now(timezone.utc), tolerance_seconds=rules.lease_seconds)
        self.asks = False
        self.duties = Duties(
            [
                self._take_back,
                self._unqueue_stranded,
                self._unqueue_raised,
                self._fail_unfit,
                self._fail_waited,
                self._withdraw,
                self._expire,
                self._prune,
                self._prune_audit,
                self._count_ended,
            ]
        )

    def manage(self, hints: Hints, stop: Stop) -> None:
        """Do round after round, as hints or the time ask for it, until the door is asked to stop."""
        heard: set[Hint] = set()
        while not stop.asked:
            heard = hints.wait(self.round(heard))
            until = time.monotonic() + PAUSE_SECONDS
            while self._can_wait(heard) and not stop.asked and (left := until - time.monotonic()) > 0:
                heard |= hints.wait(left)

    def _can_wait(self, heard: Collection[Hint]) -> bool:
        """Tell whether no ticket begins any sooner by a round now, since all sources have something to do."""
        self.all_busy &= all(hint.channel != IDLE for hint in heard)
        return self.all_busy

    def round(self, heard: Collection[Hint] = ()) -> float:
        """Do a round, because of the hints that were ``heard`` or for want of any; return how many seconds to wait."""
        try:
            return self._round(heard)
        except DatabaseUnavailable as error:
            if self.connected_at is not None:
                log.warning("database.lost", reason=str(error))
            self.connected_at = None
        except RowRefused as error:
            log.error("round.refused", reason=str(error))
        return self.rules.poll_seconds

    def close(self) -> None:
        """Give the manager's place to the next one; where the database is away, the lease runs out."""
        self.sweep.close()
        if self.lease is not None:
            with suppress(DatabaseUnavailable):
                self.sources.release(self.lease)

    def _round(self, heard: Collection[Hint]) -> float:
        """Give tickets to queues first; the duties come after that, and never take long."""
        if time.monotonic() >= self.renew_at or self.connected_at is None:
            if not self._hold_lease():
                self.sweep.forbid()
                return self.rules.poll_seconds
            self.renew_at = time.monotonic() + min(self.rules.poll_seconds, self._fifth)
        self.waits = bool(heard) or self.store.any_waits()
        if self._concerns(heard):
            self._place()
        if time.monotonic() >= self.duties_at:
            self._look_at_clocks()
            self._allow_sweep()
            left_over = self.duties.do(self._fifth)
            self.duties_at = time.monotonic() + (0.0 if left_over else min(self.rules.poll_seconds, self._fifth))
        return max(0.0, min(self.duties_at, self.renew_at) - time.monotonic())

    @property
    def _fifth(self) -> float:
        """A part of the lease in which it is surely renewed."""
        return self.rules.lease_seconds / 5

    def _hold_lease(self) -> bool:
        if self.lease is None or not self.sources.renew(self.lease):
            last = self.sources.last_holder(MANAGER_LEASE)
            self.lease = take_lease(self.sources, MANAGER_LEASE)
            if self.lease is None:
                if not self.said_held:
                    log.warning(
                        "manager.held", reason="another QueueManager manages this database; waiting for its end"
                    )
                self.said_held = True
                return False
            self.said_held = False
            log.info("manager.took_over", epoch=self.lease.epoch)
            self._judge_absence(last)
        if self.connected_at is None:
            self.connected_at = time.monotonic()
        return True

    # The clocks

    def _judge_absence(self, last: LastHolder | None) -> None:
        """Trust no clock by which nobody managed for long: it may have been set meanwhile."""
        if last is not None and abs(last.expired_seconds) > max(self.rules.clock_steady_seconds, self._two_leases):
            self._tell_step(last.expired_seconds, "nobody managed this database for so long, or its clock was set")
            self.clock.note_step()

    def _look_at_clocks(self) -> None:
        """Notice that the database's or the machine's clock was set, and hear what an operator says of it."""
        for clock, name in ((self.clock, "the database's"), (self.machine, "the machine's")):
            step = clock.look()
            if step is not None:
                self._tell_step(step, f"{name} clock was set")
        if not self._are_steady and self.questions.take_agreement(CLOCK):
            log.warning("clock.agreed")
            self.clock.trust()
            self.machine.trust()
        if self.asks and self._are_steady:
            self.questions.withdraw(CLOCK)
            self.asks = False
            log.info("clock.steady")

    def _tell_step(self, seconds: float, reason: str) -> None:
        """Say that nothing expires for a while, and ask an operator; what was agreed before is void."""
        steady = f"for {self.rules.clock_steady_seconds:g} s, or until: python3 -m tomaat.manager agree clock"
        log.error("clock.stepped", seconds=round(seconds, 1), reason=reason, mend=f"nothing expires or fails {steady}")
        self.questions.withdraw(CLOCK)
        self.questions.ask(CLOCK, f"{reason}: {seconds:.0f} s", round(abs(seconds)))
        self.asks = True

    @property
    def _are_steady(self) -> bool:
        return all(clock.steady(self.rules.clock_steady_seconds) for clock in (self.clock, self.machine))

    @property
    def _two_leases(self) -> float:
        """The time in which every living holder has renewed its lease by a clock that was set."""
        return 2 * self.rules.lease_seconds

    @property
    def _for_ages(self) -> Within:
        """The bounds of the time by which something is too old."""
        return self.clock.within(self.rules.clock_steady_seconds)

    @property
    def _for_leases(self) -> Within:
        """The bounds of the time by which a lease has run out; holders renew theirs soon after a clock was set."""
        return self.clock.within(min(self.rules.clock_steady_seconds, self._two_leases))

    @property
    def _settled(self) -> bool:
        """Whether holders may be declared dead: not within a lease after the own (re)connection."""
        return self.connected_at is not None and time.monotonic() - self.connected_at > self.rules.lease_seconds

    # The duties: each changes at most so many rows, and tells whether more are due

    def _allow_sweep(self) -> None:
        until = time.monotonic() + self.rules.lease_seconds
        self.sweep.allow(Permit(within=self._for_ages, steady=self._are_steady, until=until))

    def _take_back(self, most: int) -> bool:
        taken = self.store.take_back(
            settled=self._settled, attempts=self.rules.attempts, within=self._for_leases, most=most
        )
        for ticket, state in taken:
            log.warning("ticket.taken_back", ticket=ticket, state=state)
        return len(taken) >= most

    def _unqueue_stranded(self, most: int) -> bool:
        if not self.waits:
            return False
        unqueued = self.store.unqueue_stranded(
            settled=self._settled, unfit=unfit(self.store.queues()), within=self._for_leases, most=most
        )
        for ticket in unqueued:
            log.warning("ticket.unqueued", ticket=ticket, reason="its compute source is gone, drained or changed")
        return bool(unqueued)

    def _unqueue_raised(self, most: int) -> bool:
        raised = self.store.unqueue_raised(within=self._for_ages, most=most) if self.waits else []
        for ticket in raised:
            log.info("ticket.raised", ticket=ticket, reason="it has waited for long, and gets its turn anew")
        return bool(raised)  # until the next round they are in no queue

    def _fail_unfit(self, most: int) -> bool:
        failed = 0
        for misfit in misfits(self.store.queues()) if self.waits else ():
            for ticket in self.store.fail_unfit(misfit, most=most - failed):
                log.warning("ticket.failed", ticket=ticket, reason="fits nowhere", needed_bytes=misfit.needed_bytes)
                failed += 1
            if failed >= most:
                return True
        return False

    def _fail_waited(self, most: int) -> bool:
        failed = self.store.fail_waited(hours=self.rules.wait_limit_hours, within=self._for_ages, most=most)
        for ticket in failed:
            log.warning("ticket.failed", ticket=ticket, reason="waited too long")
        return len(failed) >= most

    def _withdraw(self, most: int) -> bool:
        return self._settled and self.withdrawals.look(within=self._for_ages, most=most)

    def _expire(self, most: int) -> bool:
        expired = self.store.expire(
            retention_hours=self.rules.retention_hours,
            fetched_grace_seconds=self.rules.fetched_grace_seconds,
            within=self._for_ages,
            most=most,
        )
        self.sweep.note_expired(expired)
        for ended in expired:
            log.info("ticket.expired", ticket=ended.id)
        return len(expired) >= most

    def _prune(self, most: int) -> bool:
        pruned = self.store.prune(days=self.rules.ticket_days, within=self._for_ages, most=most)
        for ticket in pruned:
            log.info("ticket.pruned", ticket=ticket)
        return len(pruned) >= most

    def _prune_audit(self, most: int) -> bool:
        return self.store.prune_audit(days=self.rules.audit_days, within=self._for_ages, most=most) >= most

    def _count_ended(self, _most: int) -> bool:
        if time.monotonic() >= self.counted_at + COUNT_ANYWAY_SECONDS:
            self._count_shares()
        return False

    # Queues

    def _concerns(self, heard: Collection[Hint]) -> bool:
        """Tell whether there is anything to do; not where sources became idle while nothing waits elsewhere."""
        idle = {hint.about for hint in heard if hint.channel == IDLE and hint.about}
        self.crowded -= idle
        return bool(self.crowded) or len(idle) < len(heard) or (not heard and self.waits)

    def _place(self) -> None:
        """Give submitted tickets to queues, and let idle sources take tickets from others' queues."""
        reading = self.store.read(within=self._for_ages)
        queues = [queue for queue in fitting(reading.queues) if queue.live]
        runnable = {service for queue in queues for service in queue.offers}
        submitted = [each for each in reading.submitted if (each.service, each.interface_hash) in runnable]
        if submitted:
            self._count_shares()
        self.turns = {queue.source: self.turns.get(queue.source, {}) for queue in queues}
        assigned = self.store.assign(assign(submitted[:MOST_AT_ONCE], queues, self.shares, self.turns))
        got = Counter(assigned.values())
        free = {queue.source: queue.lanes - len(queue.performed) for queue in queues if queue.idle}
        now = time.monotonic()
        self.given = {ticket: until for ticket, until in self.given.items() if until > now}
        self.given |= {ticket: now + CLAIM_SECONDS for ticket, source in assigned.items() if source in free}
        self.crowded = {queue.source for queue in queues if queue.queued_seconds is not None}
        self.crowded |= {source for source, tickets in got.items() if tickets > free.get(source, 0)}
        idle = {source for source, lanes in free.items() if got[source] < lanes}
        moved = self._rebalance(queues) if idle and self.crowded and len(assigned) < MOST_AT_ONCE else {}
        self.crowded |= set(moved.values())
        self.all_busy = idle <= set(moved.values())
        for event, queued in (("ticket.queued", assigned), ("ticket.moved", moved)):
            for ticket, source in queued.items():
                log.debug(event, ticket=ticket, source=source)

    def _count_shares(self) -> None:
        """Count what each key has used lately, if that was not done just now."""
        if time.monotonic() >= self.counted_at + COUNT_SECONDS:
            self.store.shares.count()
            self.shares = self.store.shares.read()
            self.counted_at = time.monotonic()

    def _rebalance(self, queues: Sequence[Queue]) -> dict[int, str]:
        """Let idle sources take what waits elsewhere, but no ticket that its own idle source claims in a moment."""
        fronts = self.store.fronts(self.crowded)
        with_fronts = [replace(queue, waiting=fronts.get(queue.source, ())) for queue in queues]
        return self.store.move(rebalance(with_fronts, begins_now=self.given))
