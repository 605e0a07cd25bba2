"""Tell programs that watch, restart or balance whether this process lives, and whether it would serve a request."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from flask import Flask, Response

from tomaat.database import DatabaseUnavailable
from tomaat.storage import Storage
from tomaat.storage.disk import LEAST_ROOM_BYTES
from tomaat.tickets.watch_store import WatchStore
from tomaat.web.http.problems import Problem
from tomaat.web.http.recent import Recent
from tomaat.web.http.shapes import answer

log = structlog.get_logger()

RECENT_SECONDS = 1.0
RETRY_SECONDS = 5
NO_MANAGER = "No QueueManager is alive: tickets are taken, and wait."
NO_SERVICES = "No compute source offers a service: none runs, its device is broken, or its networks are being loaded."


@dataclass(frozen=True, kw_only=True)
class Live:
    """This process answers."""

    live: Literal[True]


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A request would be served."""

    ready: Literal[True]


class Health:
    """Two views for everybody: they tell no name, no address and no number."""

    def __init__(self, store: WatchStore, storage: Storage) -> None:
        self.store = store
        self.storage = storage
        self.failing = Recent(self._look, seconds=RECENT_SECONDS)
        self.told: set[str] = set()

    def register(self, app: Flask) -> None:
        """Give each view its route."""
        app.add_url_rule("/health/live", view_func=self.live)
        app.add_url_rule("/health/ready", view_func=self.ready)

    def live(self) -> Response:
        """Tell that this process answers; nothing else is asked."""
        return answer(Live(live=True))

    def ready(self) -> Response:
        """Tell that a request would be served, or name each part that fails."""
        failing = self.failing.get()
        if failing:
            errors: list[dict[str, Any]] = [
                {"input": None, "code": code, "detail": detail} for code, detail in failing.items()
            ]
            detail = f"Not ready: {', '.join(failing)}."
            headers = {"Retry-After": str(RETRY_SECONDS)}
            raise Problem(503, "not-serving", "Not serving", detail, errors, headers)
        return answer(Ready(ready=True))

    def _look(self) -> dict[str, str]:
        failing = {**self._database(), **self._storage()}
        if failing.keys() != self.told:
            log.warning("health.changed", failing=sorted(failing))
            self.told = set(failing)
        return failing

    def _database(self) -> dict[str, str]:
        try:
            failing = {} if self.store.manager_held() else {"manager": NO_MANAGER}
            return failing if self.store.offers_anything() else {**failing, "services": NO_SERVICES}
        except DatabaseUnavailable:
            return {"database": "The database does not answer."}

    def _storage(self) -> dict[str, str]:
        try:
            with tempfile.TemporaryFile(dir=self.storage.temporary) as file:
                file.write(b"x")
                file.flush()
                os.fsync(file.fileno())
            free_bytes = shutil.disk_usage(self.storage.base).free
        except OSError:
            return {"storage": "The storage cannot be written."}
        if free_bytes < LEAST_ROOM_BYTES:
            return {"storage": f"The storage has less than {LEAST_ROOM_BYTES // 1024**2} MiB left."}
        return {}
