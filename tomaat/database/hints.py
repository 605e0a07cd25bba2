"""Wake a waiting process early: NOTIFY after the commit, LISTEN on a connection of its own."""

from __future__ import annotations

import contextlib
import select
import time

import psycopg2
import psycopg2.extensions as pg
import sqlalchemy

from tomaat.database.connection import (
    DatabaseUnavailable,
    RowRefused,
    connect_arguments,
    one_deadline,
    outages_named,
    parameters_of,
)
from tomaat.processes.waker import Waker

SUBMITTED = "tomaat_submitted"  #: the manager has something to assign or to move
QUEUED = "tomaat_queued"  #: a compute source has something to do
DOCTOR = "tomaat_doctor"  #: the doctor sees whether hints arrive
CHANGED = "tomaat_changed"  #: a ticket changed that a client may wait for


def hint(database: sqlalchemy.Engine, channel: str) -> None:
    """Wake the listeners; a lost hint costs one polling interval, so an outage here is no error, nor a full queue."""
    with (
        contextlib.suppress(DatabaseUnavailable, RowRefused),
        outages_named(),
        one_deadline(),
        database.connect() as connection,
    ):
        connection.execute(sqlalchemy.text(f"NOTIFY {channel}"))


def hints_arrive(database: sqlalchemy.Engine, url: str, *, deadline_seconds: float, within_seconds: float) -> bool:
    """Send a hint to a connection of the own, and tell whether it arrives: a pooler may keep it to itself."""
    hints = Hints(url, DOCTOR, deadline_seconds=deadline_seconds)
    try:
        hints.wait(0)  # it listens from now on
        hint(database, DOCTOR)
        until = time.monotonic() + within_seconds
        while (left := until - time.monotonic()) > 0:
            if DOCTOR in hints.wait(left):
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

    def wait(self, seconds: float) -> set[str]:
        """Sleep until a hint, a ``wake()`` or ``seconds`` are over; return the channels that were heard."""
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

    def _heard(self) -> set[str]:
        try:
            self._connect()
            if self.connection is None:
                return set()
            self.connection.poll()
        except (psycopg2.Error, OSError):
            self._forget()
            return set()
        heard = {notice.channel for notice in self.connection.notifies}
        self.connection.notifies.clear()
        return heard

    def _connect(self) -> None:
        if self.connection is not None or time.monotonic() < self.retry_at:
            return
        self.retry_at = time.monotonic() + 1.0
        connection = psycopg2.connect(**self.parameters)
        connection.autocommit = True
        with connection.cursor() as cursor:
            for channel in self.channels:
                cursor.execute(f"LISTEN {channel}")
        self.connection = connection

    def _forget(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
