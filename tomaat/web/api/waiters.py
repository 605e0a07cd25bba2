"""Clients that wait for a ticket: many requests, one thread that asks the database for all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from tomaat.database import ENDED, MOVED, DatabaseUnavailable, Hint, Hints
from tomaat.processes.log import frames_of
from tomaat.tickets.states import UNENDED
from tomaat.tickets.ticket import Ticket
from tomaat.tickets.ticket_store import TicketStore

log = structlog.get_logger()

REMEMBERED_SECONDS = 5.0  #: for which a hint is remembered, for whoever read the ticket's row before it
FETCHED_SECONDS = 1.0  #: after which it is written down, for all at once, which results were fetched


@dataclass(kw_only=True, eq=False)
class Waiter:
    """One request that waits until its ticket's state is none of ``while_in``."""

    ticket: Ticket  #: as it was read last
    while_in: Collection[str]
    since: float  #: when its row was read first
    reads: bool = False  #: it answers with the result, if there is one
    noted: bool = False  #: the audit trail has that
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, kw_only=True)
class Waited:
    """A ticket after somebody has waited for it."""

    ticket: Ticket
    noted: bool = False  #: the audit trail has that its result is read


class Waiters:
    """At most ``places`` requests wait, so that the server's other threads always answer; all others are turned away.

    Places are tokens in a queue: taking one is getting it, and there are no locks. A ticket's row is read when a hint
    names it, and every ``poll_seconds``. The same thread writes down, after an answer was sent, that a result was
    fetched.
    """

    def __init__(self, store: TicketStore, hints: Hints, *, places: int, poll_seconds: float) -> None:
        self.store = store
        self.hints = hints
        self.poll_seconds = poll_seconds
        self.places: SimpleQueue[None] = SimpleQueue()
        for _ in range(places):
            self.places.put(None)
        self.arriving: SimpleQueue[Waiter | Callable[[], None]] = SimpleQueue()
        self.heard: dict[Hint, float] = {}  #: of late, and when
        self.heard_before: dict[Hint, float] = {}  #: in the ``REMEMBERED_SECONDS`` before
        self.forget_at = 0.0
        self.fetched: set[int] = set()  #: tickets whose result was fetched, not written down yet
        self.write_at = 0.0
        self.stopped = False
        self.thread = threading.Thread(target=self._run, name="waiters", daemon=True)
        self.thread.start()

    def wait(
        self, ticket: Ticket, while_in: Collection[str], seconds: float, *, since: float, reads: bool = False
    ) -> Waited | None:
        """Wait at most ``seconds``; return the ticket as it is then.

        ``since`` is a moment of ``time.monotonic`` at or before which ``ticket`` was read. Who ``reads`` the result is
        written into the audit trail by the statement that finds it. ``None`` at once when all places are taken, or the
        server stops.
        """
        try:
            self.places.get_nowait()
        except Empty:
            return None
        waiter = Waiter(ticket=ticket, while_in=while_in, since=since, reads=reads)
        try:
            self.arriving.put(waiter)
            self.hints.wake()
            # when it is stopped nobody may look at the waiter any more
            in_time = not self.stopped and waiter.done.wait(seconds)
        finally:
            waiter.done.set()  # also tells the thread to forget it
            self.places.put(None)
        if self.stopped:
            return None
        if in_time:
            return Waited(ticket=waiter.ticket, noted=waiter.noted)
        return Waited(ticket=self.store.find(ticket.id) or ticket)

    def do_later(self, task: Callable[[], None]) -> None:
        """Let the thread do something after an answer was sent, soon."""
        self.arriving.put(task)
        self.hints.wake()

    def note_fetched(self, ticket_id: int) -> None:
        """Write down within a second that a result was fetched; only for what this thread does."""
        if not self.fetched:
            self.write_at = time.monotonic() + FETCHED_SECONDS
        self.fetched.add(ticket_id)

    def close(self) -> None:
        """Let all waiters go."""
        self.stopped = True
        self.hints.wake()
        self.thread.join(timeout=10)

    def _run(self) -> None:
        waiting: list[Waiter] = []
        poll_at = time.monotonic() + self.poll_seconds
        while not self.stopped:
            heard = self.hints.wait(self._longest_wait(poll_at))
            now = time.monotonic()
            self._remember(heard, now)
            arrived = self._arrivals()
            waiting = [waiter for waiter in (*waiting, *arrived) if not waiter.done.is_set()]
            if now >= poll_at:
                concerned, poll_at = waiting, now + self.poll_seconds
            else:
                concerned = [waiter for waiter in waiting if self._may_have_changed(waiter)]
            if concerned:
                self._do(partial(self._look, concerned))
            if self.fetched and now >= self.write_at:
                self._do(self._write_fetched)
        for waiter in (*waiting, *self._arrivals()):
            waiter.done.set()
        if self.fetched:
            self._do(self._write_fetched)

    def _longest_wait(self, poll_at: float) -> float:
        due = min(poll_at, self.write_at) if self.fetched else poll_at
        return max(0.0, due - time.monotonic())

    def _remember(self, heard: Collection[Hint], now: float) -> None:
        if now >= self.forget_at:
            self.heard_before, self.heard = self.heard, {}
            self.forget_at = now + REMEMBERED_SECONDS
        self.heard |= dict.fromkeys(heard, now)

    def _may_have_changed(self, waiter: Waiter) -> bool:
        """Tell whether a hint was heard about a waiter's ticket, or about anything, since its row was read.

        Whoever waits for the end does not look because the ticket goes on.
        """
        channels = (ENDED,) if waiter.while_in == UNENDED else (ENDED, MOVED)
        concerning = (Hint(channel, about) for channel in channels for about in ("", str(waiter.ticket.id)))
        heard = max(self.heard.get(hint, self.heard_before.get(hint, 0.0)) for hint in concerning)
        return heard >= waiter.since or not self.hints.listening

    def _arrivals(self) -> list[Waiter]:
        waiters = []
        while not self.arriving.empty():
            arrived = self.arriving.get()
            if isinstance(arrived, Waiter):
                waiters.append(arrived)
            else:
                self._do(arrived)
        return waiters

    def _do(self, task: Callable[[], None]) -> None:
        try:
            task()
        except DatabaseUnavailable as error:
            log.warning("database.lost", reason=str(error))
        except Exception as error:  # noqa: BLE001 (whatever it is, others wait for this thread)
            log.error("waiters.crashed", error=type(error).__name__, frames=frames_of(error))

    def _look(self, waiting: Collection[Waiter]) -> None:
        """Read all their tickets in one query; release the waiters whose ticket left its state.

        Where the database does not answer, they go on waiting, and ask for themselves when their time is over.
        """
        now = time.monotonic()
        reading = [waiter.ticket.id for waiter in waiting if waiter.reads]
        tickets = self.store.find_all({waiter.ticket.id for waiter in waiting}, reading=reading)
        for waiter in waiting:
            waiter.since = now
            waiter.ticket = tickets.get(waiter.ticket.id, waiter.ticket)
            waiter.noted = waiter.reads and waiter.ticket.has_result
            if waiter.ticket.state not in waiter.while_in or waiter.ticket.id not in tickets:
                waiter.done.set()

    def _write_fetched(self) -> None:
        self.write_at = time.monotonic() + FETCHED_SECONDS  # where the database is away, it is tried again then
        self.store.mark_fetched(self.fetched)
        self.fetched = set()
