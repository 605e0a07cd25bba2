"""A private PostgreSQL below the storage folder; it starts and ends with the program that launches it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import sqlalchemy
import structlog

from tomaat.database.connection import first_line
from tomaat.database.facts import QUIET_LOG
from tomaat.postgres.account import PrivatePostgresFailed, choose_account
from tomaat.postgres.binaries import find_binaries
from tomaat.postgres.home import NAME, PLACE_FOR_ROOT, data_of, prepare_home, remove_home
from tomaat.postgres.postmaster import is_stopping, lines_of_pid_file, postmasters_of

log = structlog.get_logger()

PORT = 5432  #: only a part of the socket's name: nothing listens on the network
SOCKET_LINE = 4  #: of postmaster.pid, counted from 0
LONGEST_SOCKET_BYTES = 107
PLAIN = re.compile(r"[a-zA-Z0-9_./+-]+")  #: needs no quoting in URLs, libpq's lists, PostgreSQL's lists
LARGEST_LOG_BYTES = 10 * 1024**2
PREDECESSOR_SECONDS = 5.0  #: how long a server of another launcher, which does not say that it stops, is waited for
EMPTY_SECONDS = 2.0  #: a living server has written its pid long before
PASSING = ("lock file", "shared memory block")  #: in the last words of a server whose predecessor is not quite gone
CLIENT_REFUSED = "the database system is "  #: starting up, or shutting down
LEAST_CONNECTIONS = 100
CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    **QUIET_LOG,  # neither values nor statements in the log
    "max_parallel_workers_per_gather": "0",  # a container's small /dev/shm would fail them
    "logging_collector": "off",
}


class PrivatePostgres:
    """The launcher of one server whose home is ``folder``.

    The server ends when the *thread* that started it ends: the main thread starts it.
    Raises ``PrivatePostgresFailed``, whose message says how to mend it.
    """

    name = "PostgreSQL"

    def __init__(self, folder: Path, *, connections: int = LEAST_CONNECTIONS) -> None:
        """Launch a server in ``folder`` that takes so many ``connections``, or the least number of them."""
        self.folder = folder.absolute()
        self.connections = max(connections, LEAST_CONNECTIONS)
        self.log_file = self.folder / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.abstract_socket = f"@{NAME}-{secrets.token_hex(16)}"

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder, or a link in the home to it."""
        return data_of(self.folder)

    @property
    def socket(self) -> str:
        """The socket's folder; a name without a file where a path would be too long or have odd characters."""
        folder = str(self.data.parent / "socket")
        fits = len(f"{folder}/.s.PGSQL.{PORT}") <= LONGEST_SOCKET_BYTES
        return folder if fits and PLAIN.fullmatch(folder) else self.abstract_socket

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def alive(self) -> bool:
        """Tell whether the server that this object started still runs."""
        return self.pid is not None

    def start(self, timeout_seconds: float = 60) -> str:
        """Start the server and return the database's URL (with its password) once a real connection works."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("PrivatePostgres.start: only the main thread may start it, for it ends with its thread.")
        deadline = time.monotonic() + timeout_seconds
        with self._failures_named():
            self.password = prepare_home(self.folder)
            while not self.alive():
                self._wait_for_predecessor(deadline)
                self._try(deadline)
        return self.url

    def stop(self) -> None:
        """End the server: close its sessions and write everything, by force if that takes too long."""
        for number, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 5), (signal.SIGKILL, None)):
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)

    def remove(self) -> None:
        """End the server and delete all its files, wherever they lie."""
        self.stop()
        remove_home(self.folder)

    def keep_log_small(self) -> None:
        """Empty the log once it is too large; the server goes on writing at its end."""
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LARGEST_LOG_BYTES:
                os.truncate(self.log_file, 0)

    @contextlib.contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PrivatePostgresFailed(f"The private PostgreSQL of {self.folder} cannot be set up: {error}") from error

    def _wait_for_predecessor(self, deadline: float) -> None:
        """Wait for the server of an earlier launcher to end; none is adopted."""
        patience = time.monotonic() + PREDECESSOR_SECONDS
        said = False
        while pids := postmasters_of(self.data):
            if time.monotonic() > (deadline if is_stopping(self.data) else patience):
                raise PrivatePostgresFailed(
                    f"Another PostgreSQL (process {pids[0]}) runs on {self.data}: stop the program that started it, "
                    "or choose another TOMAAT_BASE_STORAGE_DIR."
                )
            if not said:
                log.info("postgres.waiting", reason="an earlier server on this folder still runs", process=pids[0])
                said = True
            time.sleep(0.1)

    def _try(self, deadline: float) -> None:
        """Start the server and wait until it is ready; return without one where a second try may go well."""
        log_start = self._spawn()
        try:
            reason = self._wait_until_ready(deadline)
        except BaseException:
            self.stop()
            raise
        if reason is None:
            return
        self.stop()
        said = self._last_words(log_start) or reason
        if not any(word in said for word in PASSING) or time.monotonic() > deadline:
            raise PrivatePostgresFailed(f"PostgreSQL did not start on {self.data}: {said} ({self.log_file} says more)")
        time.sleep(0.2)

    def _spawn(self) -> int:
        """Start the server; return where its part of the log begins."""
        account = choose_account(self.data)
        binaries = find_binaries(int((self.data / "PG_VERSION").read_text()), account, PLACE_FOR_ROOT)
        if not self.socket.startswith("@"):
            Path(self.socket).mkdir(0o700, exist_ok=True)
            account.own(Path(self.socket))
        configuration = CONFIGURATION | {
            "max_connections": str(self.connections),
            "unix_socket_directories": self.socket,
            "port": str(PORT),
        }
        options = [part for name, value in configuration.items() for part in ("-c", f"{name}={value}")]
        self._remove_remains()
        self.keep_log_small()
        with self.log_file.open("ab") as log_file:
            account.own(self.log_file)
            self.log_file.chmod(0o600)
            command = [str(binaries / "postgres"), "-D", str(self.data), *options]
            log_start = log_file.tell()  # from the start on the server moves this file's place, too
            self.process = account.start(command, signal.SIGINT, log_file, self._environment())
            return log_start

    def _environment(self) -> dict[str, str]:
        """Say that the pid in a stale ``postmaster.pid`` is nobody's.

        PostgreSQL takes any process of that number for a server, also a zombie or a foreign one, unless it is told
        that the number is its own grandparent. It still checks itself that nobody uses the shared memory.
        """
        lines = lines_of_pid_file(self.data)
        return {"PG_GRANDPARENT_PID": lines[0].strip().lstrip("-")} if lines else {}

    def _remove_remains(self) -> None:
        """Remove a killed server's remains that PostgreSQL leaves: an empty file, the lock of the socket."""
        (Path(self.socket) / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        pid_file = self.data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            status = pid_file.stat()
            if status.st_size == 0 and time.time() - status.st_mtime > EMPTY_SECONDS:
                pid_file.unlink()

    def _wait_until_ready(self, deadline: float) -> str | None:
        """Wait for a connection to this very server, and make the database; return why there is no hope."""
        reason = "it was silent"
        while self.alive():
            try:
                if lines_of_pid_file(self.data)[:1] == [str(self.pid)]:  # else it is another launcher's that answers
                    self._make_database()
                    return None
            except psycopg2.OperationalError as error:
                reason = first_line(error)
            recovering = "starting up" in reason  # it may take as long as there is to recover
            if (time.monotonic() > deadline and not recovering) or "authentication failed" in reason:
                break
            time.sleep(0.05)
        return reason

    def _make_database(self) -> None:
        address = {"host": self.socket, "port": PORT, "user": NAME, "password": self.password}
        with contextlib.closing(psycopg2.connect(**address, dbname="postgres", connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {NAME}")

    def _last_words(self, log_start: int) -> str:
        """Return the last line that the server, or the attempt to start it, wrote about its end.

        Refusals of clients are none; while another launcher's server starts, it writes such into the same log.
        """
        with self.log_file.open("rb") as log_file:
            log_file.seek(log_start)
            written = log_file.read().decode(errors="replace").splitlines()
        lines = [line for line in written if CLIENT_REFUSED not in line]
        fatal = [line for line in lines if "FATAL" in line or "PANIC" in line]
        return (fatal or lines or [""])[-1].strip()

    @property
    def url(self) -> str:
        """The database's URL, with its password."""
        return url_of(self.password, self.socket)

    def url_of_running(self) -> str | None:
        """Find the URL of the server that another launcher runs on this data; ``None`` where none runs."""
        if not postmasters_of(self.data):
            return None
        socket = (self.data / "postmaster.pid").read_text().splitlines()[SOCKET_LINE]
        return url_of((self.folder / "password").read_text(), socket)


def url_of(password: str, socket: str) -> str:
    """Make the URL of the private database behind a socket."""
    return sqlalchemy.URL.create(
        "postgresql+psycopg2",
        username=NAME,
        password=password,
        database=NAME,
        query={"host": socket, "port": str(PORT)},
    ).render_as_string(hide_password=False)
