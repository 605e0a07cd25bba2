"""Wake a waiting process early: NOTIFY after the commit, LISTEN on a connection of its own."""

from __future__ import annotations

import contextlib
import select
import time
from collections import Counter
from collections.abc import Collection

import psycopg2
import psycopg2.extensions as pg
import sqlalchemy

from tomaat.database.connection import DatabaseUnavailable, RowRefused, connect_arguments, parameters_of
from tomaat.database.hint import DOCTOR, Hint
from tomaat.database.run import run_prepared
from tomaat.processes.waker import Waker

MOST_NAMED = 100  #: sources or tickets of one channel; more are told as "anything"


def send_hints(database: sqlalchemy.Engine, hints: Collection[Hint]) -> None:
    """Wake the listeners by one statement; a lost hint costs one polling interval, so an outage here is no error.

    Nor is a full queue. A crash of the server may lose the statement, as it loses the listeners: nobody waits for the
    disk.
    """
    told = _bounded(hints)
    with contextlib.suppress(DatabaseUnavailable, RowRefused):
        run_prepared(
            database,
            """SELECT set_config('synchronous_commit', 'off', true), pg_notify(channel, about)
               FROM unnest(CAST(:channels AS text[]), CAST(:abouts AS text[])) AS h(channel, about)""",
            channels=[hint.channel for hint in told],
            abouts=[hint.about for hint in told],
        )


def _bounded(hints: Collection[Hint]) -> list[Hint]:
    """Give each hint once; one about anything stands for all of its channel, and for very many."""
    once = dict.fromkeys(hints)
    counted = Counter(hint.channel for hint in once)
    anything = {hint.channel for hint in once if not hint.about or counted[hint.channel] > MOST_NAMED}
    return [*(Hint(channel) for channel in sorted(anything)), *(hint for hint in once if hint.channel not in anything)]


def hints_arrive(database: sqlalchemy.Engine, url: str, *, deadline_seconds: float, within_seconds: float) -> bool:
    """Send a hint to a connection of the own, and tell whether it arrives: a pooler may keep it to itself."""
    hints = Hints(url, DOCTOR, deadline_seconds=deadline_seconds)
    about_itself = Hint(DOCTOR, "itself")
    try:
        hints.wait(0)  # it listens from now on
        send_hints(database, [about_itself])
        until = time.monotonic() + within_seconds
        while (left := until - time.monotonic()) > 0:
            if about_itself in hints.wait(left):
                return True
        return False
    finally:
        hints.close()


class Hints:
    """One autocommit LISTEN connection, touched by one thread; ``wake()`` may be called from any."""

    def __init__(self, url: str, *channels: str, deadline_seconds: float) -> None:
        self.parameters = parameters_of(url) | connect_arguments(deadline_seconds)
        self.channels = channels
        self.connection: pg.connection | None = None
        self.retry_at = 0.0
        self.waker = Waker()

    @property
    def listening(self) -> bool:
        """Whether hints that are sent now will be heard."""
        return self.connection is not None

    def wait(self, seconds: float) -> set[Hint]:
        """Sleep until a hint, a ``wake()`` or ``seconds`` are over; return the hints that were heard.

        After a new connection anything may have happened meanwhile: that is told as a hint of each channel.
        """
        heard = self._heard()
        if heard:
            return heard
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        if self.connection is not None:
            poll.register(self.connection.fileno(), select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        self.waker.rest()
        return self._heard()

    def wake(self) -> None:
        """End a ``wait`` of another thread, or of this one in a signal's handler."""
        self.waker.wake()

    def close(self) -> None:
        """Give the connection back."""
        self._forget()
        self.waker.close()

    def _heard(self) -> set[Hint]:
        try:
            if self.connection is None:
                return self._connect()
            self.connection.poll()
        except (psycopg2.Error, OSError):
            self._forget()
            return set()
        heard = {Hint(notice.channel, notice.payload) for notice in self.connection.notifies}
        self.connection.notifies.clear()
        return heard

    def _connect(self) -> set[Hint]:
        """Listen, unless that was tried within the last second."""
        if time.monotonic() < self.retry_at:
            return set()
        self.retry_at = time.monotonic() + 1.0
        connection = psycopg2.connect(**self.parameters)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for channel in self.channels:
                cursor.execute(f"LISTEN {channel}")
        self.connection = connection
        return {Hint(channel) for channel in self.channels}

    def _forget(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
