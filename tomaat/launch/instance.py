"""One whole service: PostgreSQL, unless one is given, and the three doors."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from pathlib import Path

from sqlalchemy.exc import ProgrammingError

from tomaat.database import DatabaseUnavailable, connect
from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.door import Door
from tomaat.launch.supervisor import Program, Supervisor
from tomaat.postgres.private_postgres import PrivatePostgres
from tomaat.tickets.watch_store import WatchStore
from TOMAATSettings import ANYWHERE, CODE, Settings

DOORS = ("QueueManager", "TaskScheduling", "WebService")  #: as they start; they stop the other way round
STOP_SECONDS = 10.0  #: for a door to end, on top of the grace time of its tickets
ANSWER_SECONDS = 5.0


class Instance:
    """Only the main thread starts, tends and stops it. Raises ``CannotStart`` with a message."""

    def __init__(self, settings: Settings, *, logs: Path | None = None) -> None:
        self.settings = settings
        self.logs = logs
        self.host = ANYWHERE.get(settings.HOST, settings.HOST)
        self.url = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{settings.PORT}"
        self.postgres = (
            None
            if settings.database_given
            else PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres", connections=settings.database_connections)
        )
        self.supervisor: Supervisor | None = None
        self.database_url: str | None = None

    def start(self) -> None:
        """Start everything; return as soon as PostgreSQL answers, while the doors still wake up."""
        self._check_port()
        self.database_url = self.settings.DATABASE_URL if self.postgres is None else self.postgres.start()
        environment = os.environ | {"TOMAAT_DATABASE_URL": self.database_url}
        if self.logs is not None:
            self.logs.mkdir(parents=True, exist_ok=True)
        doors = [
            Door(
                CODE / f"{name}.py",
                environment,
                grace_seconds=self.settings.GRACE_SECONDS + STOP_SECONDS,
                log_file=None if self.logs is None else self.logs / f"{name}.log",
            )
            for name in DOORS
        ]
        programs: list[Program] = [*doors] if self.postgres is None else [self.postgres, *doors]
        self.supervisor = Supervisor(programs)
        self.tend()

    def tend(self) -> None:
        """Start again each program that died."""
        if self.supervisor is not None:
            self.supervisor.tend()
        if self.postgres is not None:
            self.postgres.keep_log_small()

    def is_ready(self) -> bool:
        """Tell whether requests can be served: a compute source offers something, and has loaded all that it offers."""
        return self._offers() and self._ask_what_loads() == []

    def loading(self) -> list[tuple[str, str, float]]:
        """List the sources that still load: the source, the file or service, and the seconds."""
        return self._ask_what_loads() or []

    def _ask_what_loads(self) -> list[tuple[str, str, float]] | None:
        """Ask the database; ``None`` where it does not answer soon, or is still being migrated."""
        if self.database_url is None:
            return []
        database = connect(self.database_url, deadline_seconds=ANSWER_SECONDS)
        try:
            return WatchStore(database).loading()
        except (DatabaseUnavailable, ProgrammingError):
            return None
        finally:
            database.dispose()

    def _offers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection = http.client.HTTPConnection(self.host, self.settings.PORT, timeout=ANSWER_SECONDS)
            with contextlib.closing(connection):
                connection.request("GET", "/supportedservices")
                answer = connection.getresponse()
                return answer.status == http.client.OK and any(one["available"] for one in json.load(answer))
        return False

    def stop(self) -> None:
        """Stop the doors, and PostgreSQL last."""
        if self.supervisor is not None:
            self.supervisor.stop()
        elif self.postgres is not None:
            self.postgres.stop()

    def _check_port(self) -> None:
        """Raise ``CannotStart`` if another program listens on the port: its answers would be taken for ours."""
        host, port = self.settings.HOST, self.settings.PORT
        try:
            with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
                pass
        except OSError as error:
            raise CannotStart(
                f"Port {port} of {host} cannot be used ({error.strerror}): stop the program that listens there, "
                f"or choose another port, for example TOMAAT_PORT={port % 65535 + 1}."
            ) from error
