"""Connect to PostgreSQL so that no statement blocks for longer than its deadline.

libpq's keepalives and ``statement_timeout`` do not free a call that waits on a silent network. The wait callback below
does: at its deadline the connection is closed, and the statement's outcome is *unknown*.
"""

from __future__ import annotations

import re
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions as pg
import sqlalchemy
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

log = structlog.get_logger()

RETRY_SECONDS = 1.0
INSUFFICIENT_PRIVILEGE = "42501"
MENDING = {
    "permission denied": (
        "From PostgreSQL 15 on the database must belong to the role: "
        'CREATE DATABASE {database} OWNER "{role}"; or ALTER DATABASE {database} OWNER TO "{role}";'
    ),
    'role ".*" does not exist': "Make it: CREATE ROLE \"{role}\" LOGIN PASSWORD '...';",
    'role ".*" is not permitted to log in': 'Permit it: ALTER ROLE "{role}" LOGIN;',
    'database ".*" does not exist': 'Make it: CREATE DATABASE {database} OWNER "{role}";',
    'database ".*" is not currently accepting connections': "Let it: ALTER DATABASE {database} ALLOW_CONNECTIONS true;",
    "no pg_hba.conf entry": (
        'Let role "{role}" into {database} by a line of its own in that file (SHOW hba_file;), '
        "then SELECT pg_reload_conf();"
    ),
    "too many (connections|clients)|connection slots": (
        "End what else is connected, raise max_connections (or the role's or the database's CONNECTION LIMIT), "
        "or lower TOMAAT_WEB_PROCESSES or TOMAAT_WEB_THREADS."
    ),
    "authentication failed": (
        "Make the role with the password in TOMAAT_DATABASE_URL: CREATE ROLE \"{role}\" LOGIN PASSWORD '...'; "
        "or ALTER ROLE \"{role}\" PASSWORD '...';"
    ),
    "Connection refused": "Start PostgreSQL there, or set TOMAAT_DATABASE_URL; `make serve` brings its own.",
}  #: words of PostgreSQL's (regular expressions) and the mend for a person; the first that fits counts
TRIED_AGAIN = "It is tried again and again."
SEE_WHETHER_IT_RUNS = "See whether PostgreSQL runs there, and can be reached from here."
#: SQLSTATEs of a server that cannot answer now; 25006 is a standby's, which takes no change before it is promoted.
OUTAGES = ("08", "57P", "53", "55P03", "25P", "25006", "57014", "40", "58")
#: SQLSTATEs of one row's or one value's fault: wrong data, a broken constraint, too large, a trigger's, damaged.
OF_A_ROW = ("22", "23", "54", "P0001", "XX")


class DatabaseUnavailable(Exception):
    """PostgreSQL cannot be reached, or did not answer in time: the statement may or may not have happened."""


class RowRefused(Exception):
    """PostgreSQL, or its driver, refused one row or value for good: to repeat the statement would be in vain.

    The text names the kind of fault. The cause has PostgreSQL's own words, which may hold the value.
    """


def connect(url: str, *, deadline_seconds: float, pool_size: int = 5, read_only: bool = False) -> sqlalchemy.Engine:
    """Make the pool of connections of one door; it connects when it is first used.

    Every statement is a transaction of its own (autocommit) and ends or fails within ``deadline_seconds``. On
    ``read_only`` connections PostgreSQL itself refuses every change. No statement asks whether a connection still
    lives: one that PostgreSQL has closed is seen to be closed, any other is noticed by the next statement.
    """
    wait_with_deadline(deadline_seconds)
    database = sqlalchemy.create_engine(
        _with_driver(url),
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=deadline_seconds,
        pool_use_lifo=True,  # the connections that are used have their plans
        pool_reset_on_return=None,  # there is no transaction to roll back
        connect_args=connect_arguments(deadline_seconds, read_only=read_only),
    )
    sqlalchemy.event.listen(database, "checkout", _demand_silent)
    return database


def _demand_silent(connection: pg.connection, _record: object, _proxy: object) -> None:
    """Let the pool open another connection instead of one on which PostgreSQL said something unasked: its last word."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if connection.closed or poll.poll(0):
        raise sqlalchemy.exc.DisconnectionError


def connect_arguments(deadline_seconds: float, *, read_only: bool = False) -> dict[str, object]:
    """Return the limits that libpq and the server enforce beside the wait callback."""
    milliseconds = int(deadline_seconds * 1000)
    options = (
        f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={2 * milliseconds} "
        f"-c lock_timeout={milliseconds} -c timezone=UTC -c plan_cache_mode=force_generic_plan "
        # the server lets the sessions of a machine that is gone go within a minute, not within hours
        "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
    )
    return {
        "connect_timeout": max(2, int(deadline_seconds)),
        "application_name": "tomaat",
        "options": f"{options} -c default_transaction_read_only=on" if read_only else options,
    }


def _with_driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


def parameters_of(url: str) -> dict[str, Any]:
    """Take a URL apart into libpq's parameters as the pool does: libpq itself reads some passwords otherwise."""
    parsed = sqlalchemy.make_url(_with_driver(url))
    return dict(parsed.get_dialect()().create_connect_args(parsed)[1])


_attempt = threading.local()  #: when this thread's statement began, its connecting included; its own deadline, if any


@contextmanager
def one_deadline() -> Iterator[None]:
    """Let all calls within count as one: opening a connection, and the statement."""
    _attempt.began = time.monotonic()
    try:
        yield
    finally:
        del _attempt.began


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Let calls within take longer than the deadline of the pool."""
    _attempt.seconds = seconds
    try:
        yield
    finally:
        del _attempt.seconds


def wait_with_deadline(deadline_seconds: float) -> None:
    """Let each call of psycopg2 in this process end or fail within ``deadline_seconds``."""

    def wait(connection: pg.connection) -> None:
        seconds = getattr(_attempt, "seconds", deadline_seconds)
        deadline = getattr(_attempt, "began", time.monotonic()) + seconds
        while (state := connection.poll()) != pg.POLL_OK:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN if state == pg.POLL_READ else select.POLLOUT)
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise psycopg2.OperationalError(f"PostgreSQL was silent for {seconds:g} s")

    pg.set_wait_callback(wait)


@contextmanager
def outages_named() -> Iterator[None]:
    """Turn a lost connection, a deadline or a refusing server into ``DatabaseUnavailable``.

    A row or a value that the server refuses becomes ``RowRefused``.
    """
    try:
        yield
    except DBAPIError as error:
        if is_outage(error):
            raise DatabaseUnavailable(first_line(error.orig)) from error
        state = str(getattr(error.orig, "pgcode", None) or "")
        if state.startswith(OF_A_ROW) or isinstance(error.orig, psycopg2.DataError):
            raise RowRefused(f"{type(error.orig).__name__} {state}".strip()) from error
        raise
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("no connection of the pool became free in time") from error


def is_outage(error: DBAPIError) -> bool:
    """Tell whether the server could not answer; ``False``: it answered that the statement is wrong."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "pgcode", None)
    if state is None:
        return isinstance(error.orig, (psycopg2.OperationalError, psycopg2.InterfaceError))
    return str(state).startswith(OUTAGES)


def first_line(error: object) -> str:
    """Keep the first line of libpq's message: a person needs no more."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def wait_for_database(
    database: sqlalchemy.Engine, prepare: Callable[[sqlalchemy.Engine], None], stopping: Callable[[float], bool]
) -> bool:
    """Wait until PostgreSQL answers and ``prepare`` succeeds; log each new reason once.

    ``stopping(seconds)`` sleeps, and tells whether the door was asked to stop; then the answer is ``False``.
    """
    said = None
    while True:
        try:
            with outages_named():
                prepare(database)
        except DatabaseUnavailable as error:
            reason = str(error)
        except sqlalchemy.exc.ProgrammingError as error:
            if getattr(error.orig, "pgcode", None) != INSUFFICIENT_PRIVILEGE:
                raise
            reason = first_line(error.orig)
        else:
            return True
        if reason != said:
            mend = mending(reason, database.url, otherwise=TRIED_AGAIN)
            log.warning("database.waiting", where=where(database), reason=reason, mend=mend)
            said = reason
        if stopping(RETRY_SECONDS):
            return False


def mending(reason: str, url: sqlalchemy.URL, *, otherwise: str = SEE_WHETHER_IT_RUNS) -> str:
    """Tell a person how to mend PostgreSQL's complaint; ``otherwise`` is for unknown words."""
    hint = next((hint for words, hint in MENDING.items() if re.search(words, reason)), otherwise)
    return hint.format(role=url.username, database=url.database)


def where(database: sqlalchemy.Engine) -> str:
    """Return the database's URL without its password."""
    return database.url.render_as_string(hide_password=True)
