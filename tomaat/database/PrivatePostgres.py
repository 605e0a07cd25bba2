"""A PostgreSQL of one's own below the storage folder, that lives and dies with the program that started it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg2
import sqlalchemy
import structlog

from tomaat.database.connection import first_line
from tomaat.database.private_account import ENVIRONMENT, STAY, PrivatePostgresFailed, choose_account
from tomaat.database.private_binaries import find_binaries
from tomaat.database.private_exec import command_that_dies_with
from tomaat.database.private_postmaster import is_stopping, lines_of_pid_file, postmasters_of

log = structlog.get_logger()

NAME = "tomaat"  #: of the role and of the database
PORT = 5432  #: only a part of the socket's name: nothing listens on the network
PLACE_FOR_ROOT = Path("/var/lib/tomaat")  #: for data and programs, where the server's account may not enter ours
LONGEST_SOCKET_BYTES = 107
LARGEST_LOG_BYTES = 10 * 1024**2
INITDB_SECONDS = 300.0
PREDECESSOR_SECONDS = 5.0  #: how long a server of another launcher, which does not say that it stops, is waited for
PASSING = ("lock file", "shared memory block")  #: in the last words of a server whose predecessor is not quite gone
CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # neither values
    "log_min_error_statement": "panic",  # nor statements in the log
    "max_parallel_workers_per_gather": "0",  # a container's small /dev/shm would fail them
    "logging_collector": "off",
}


class PrivatePostgres:
    """The launcher of one server whose home is ``folder``.

    The server ends when the *thread* that started it ends: the main thread starts it.
    Raises ``PrivatePostgresFailed`` with a sentence that says what mends it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.log_file = self.folder / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.abstract_socket = f"@{NAME}-{secrets.token_hex(16)}"

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder; where it lies elsewhere, a link in the home says where."""
        return (self.folder / "data").resolve()

    @property
    def socket(self) -> str:
        """The socket's folder; a name without a file where a path would be too long or have odd characters."""
        folder = str(self.data.parent / "socket")
        if len(f"{folder}/.s.PGSQL.{PORT}.lock") > LONGEST_SOCKET_BYTES or not re.fullmatch(r"[\w./+-]+", folder, re.A):
            return self.abstract_socket
        return folder

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
        self._prepare()
        while not self.alive():
            self._wait_for_predecessor(deadline)
            log_start = self._spawn()
            try:
                self._wait_until_ready(deadline)
            except psycopg2.OperationalError as error:
                said = self._last_words(log_start) or first_line(error)
                self.stop()
                if not any(word in said for word in PASSING) or time.monotonic() > deadline:
                    raise PrivatePostgresFailed(
                        f"PostgreSQL did not start on {self.data}: {said} ({self.log_file} says more)"
                    ) from error
                time.sleep(0.2)
            except BaseException:
                self.stop()
                raise
        return self._url(NAME)

    def stop(self) -> None:
        """End the server: its sessions are closed and all is written; by force if that takes too long."""
        for number, seconds in ((signal.SIGINT, 30), (signal.SIGQUIT, 5), (signal.SIGKILL, None)):
            if self.process is None or self.process.poll() is not None:
                return
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)

    def remove(self) -> None:
        """End the server and delete all that it kept, wherever it lies."""
        self.stop()
        if self.data.is_relative_to(PLACE_FOR_ROOT):
            shutil.rmtree(self.data.parent, ignore_errors=True)
        shutil.rmtree(self.folder)

    def keep_log_small(self) -> None:
        """Empty the log once it is too large; the server goes on writing at its end."""
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LARGEST_LOG_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.old"))
