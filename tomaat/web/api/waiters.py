"""Clients that wait for a ticket: many requests, one thread that asks the database for all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from tomaat.database import DatabaseUnavailable, Hints
from tomaat.processes.log import frames_of
from tomaat.tickets.ticket_store import TicketStore

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiter:
    """One request that waits until its ticket's state is none of ``while_in``."""

    ticket: int
    while_in: Collection[str]
    done: threading.Event = field(default_factory=threading.Event)


class Waiters:
    """At most ``places`` requests wait, so that the server's other threads always answer; all others are turned away.

    Places are tokens in a queue: taking one is getting it, and there are no locks. The same thread writes down, after
    an answer was sent, that a result was fetched.
    """

    def __init__(self, store: TicketStore, hints: Hints, *, places: int, poll_seconds: float) -> None:
        self.store = store
        self.hints = hints
        self.poll_seconds = poll_seconds
        self.places: SimpleQueue[None] = SimpleQueue()
        for _ in range(places):
            self.places.put(None)
        self.arriving: SimpleQueue[Waiter | Callable[[], None]] = SimpleQueue()
        self.stopped = False
        self.thread = threading.Thread(target=self._run, name="waiters", daemon=True)
        self.thread.start()

    def wait(self, ticket: int, while_in: Collection[str], seconds: float) -> bool:
        """Wait at most ``seconds``; ``False`` at once when all places are taken or the server stops."""
        try:
            self.places.get_nowait()
        except Empty:
            return False
        waiter = Waiter(ticket=ticket, while_in=while_in)
        try:
            self.arriving.put(waiter)
            self.hints.wake()
            if not self.stopped:  # else nobody may look at it any more
                waiter.done.wait(seconds)
        finally:
            waiter.done.set()  # also tells the thread to forget it
            self.places.put(None)
        return not self.stopped

    def do_later(self, task: Callable[[], None]) -> None:
        """Let the thread do something that needs the database, soon."""
        self.arriving.put(task)
        self.hints.wake()

    def close(self) -> None:
        """Let all waiters go."""
        self.stopped = True
        self.hints.wake()
        self.thread.join(timeout=10)

    def _run(self) -> None:
        waiting: list[Waiter] = []
        asked_at = 0.0
        while not self.stopped:
            heard = self.hints.wait(self.poll_seconds)
            arrived = self._arrivals()
            waiting = [waiter for waiter in (*waiting, *arrived) if not waiter.done.is_set()]
            if waiting and (heard or arrived or time.monotonic() - asked_at >= self.poll_seconds):
                self._do(partial(self._look, waiting))
                asked_at = time.monotonic()
        for waiter in (*waiting, *self._arrivals()):
            waiter.done.set()

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
        """Ask for all states in one query; release the waiters whose ticket left its state.

        Where the database does not answer, they go on waiting, and ask for themselves when their time is over.
        """
        states = self.store.states_of({waiter.ticket for waiter in waiting})
        for waiter in waiting:
            if states.get(waiter.ticket) not in waiter.while_in:
                waiter.done.set()
