"""One request's life at the server, from the upload to the result."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tomaat.client.download import download
from tomaat.client.errors import Failed, GivenUp, NotFound, NotReady, Refused, demand_path
from tomaat.client.http_api import Http
from tomaat.client.result import Result
from tomaat.client.step import FETCHING, RUNNING, WAITING, OnStep, Step, bytes_step, ignore, seconds_text
from tomaat.client.unpack import unpack_result

ENDED = {"succeeded", "failed", "cancelled", "expired"}
LONG_WAIT_SECONDS = 25.0  #: of one question, where nobody watches
SHORT_WAIT_SECONDS = 2.0  #: where somebody does: progress does not end a wait
DELETE_SECONDS = 60.0
PAUSE_SECONDS = 1.0  #: before asking again where the server does not wait


class Ticket:
    """A ticket; the holder of its ``token`` sees it and its result."""

    def __init__(self, http: Http, *, id: int, token: str, service: str = "") -> None:
        self.http = http
        self.id = id
        self.token = token
        self.service = service
        self.longest_wait_seconds = LONG_WAIT_SECONDS
        self.first_position: int | None = None

    def status(self, wait: float = 0.0) -> dict[str, Any]:
        """Ask where it stands; ``wait`` up to so many seconds for its end."""
        until = time.monotonic() + wait
        asked = min(wait, self.longest_wait_seconds)
        try:
            status = self._ask("GET", {"wait": f"{asked:g}"} if asked else None)
        except Refused:
            if not asked:
                raise
            self.longest_wait_seconds = 0.0  # this server waits less, and does not say how long
            status = self._ask("GET")
        if status["state"] not in ENDED:
            time.sleep(max(0.0, min(until - time.monotonic(), PAUSE_SECONDS)))  # it may answer sooner than asked
        return status

    def wait(self, *, seconds: float = float("inf"), on_step: OnStep = ignore) -> dict[str, Any]:
        """Wait until it has succeeded; return its last status.

        Raises ``Failed``, ``GivenUp`` or ``NotFound`` (expired) where it ended otherwise, ``NotReady`` when the seconds
        are over.
        """
        until = time.monotonic() + seconds
        at_once = LONG_WAIT_SECONDS if on_step is ignore else SHORT_WAIT_SECONDS
        status = self.status()
        while status["state"] not in ENDED:
            on_step(self.step(status))
            left = until - time.monotonic()
            if left <= 0:
                raise NotReady(f"Ticket {self.id} is {status['state']}, and has not ended within {seconds:g} s.")
            status = self.status(wait=min(at_once, left))
        demand_success(status)
        return status

    def step(self, status: dict[str, Any]) -> Step:
        """Show a status."""
        if status["state"] == "running":
            return Step(RUNNING, status["progress"], str(status["stage"] or ""))
        position, eta, why = status["position"], status["eta_seconds"], status.get("why_waiting")
        if position is None:
            return Step(WAITING, None, str(why or ""))
        self.first_position = max(position, self.first_position or 0)
        text = f"{position - 1} ahead" if position > 1 else "next"
        about = f", {why}" if why else "" if eta is None else f", done in about {seconds_text(eta)}"
        return Step(WAITING, 1 - position / (self.first_position + 1), text + about)

    def fetch(self, out: str | Path, *, replace: bool = False, on_step: OnStep = ignore) -> Result:
        """Fetch the result into a folder, in the place of an older one.

        ``replace`` other files of the same names too; else they raise ``Unusable``. Raises ``NotReady``, ``Failed``,
        ``GivenUp`` or ``NotFound`` where there is no result.
        """
        demand_path(out, "out")
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)

        def moved(done: int, total: int) -> None:
            on_step(bytes_step(FETCHING, done, total))

        archive = download(self.http, f"/result/{self.id}", self.token, folder, moved)
        unpack_result(archive, folder, replace=replace)
        archive.unlink()
        return Result(folder)

    def cancel(self) -> dict[str, Any]:
        """Give it up, or have the files of one that has ended deleted; return its status. May be repeated."""
        return self._ask("DELETE")

    def delete(self, *, seconds: float = DELETE_SECONDS) -> None:
        """Give it up, and wait until the server has deleted its files; raises ``NotReady`` after the seconds."""
        until = time.monotonic() + seconds
        while self.http.ask("DELETE", f"/request/{self.id}", token=self.token).status_code != HTTPStatus.OK:
            if time.monotonic() > until:
                raise NotReady(f"The files of ticket {self.id} are not deleted yet.")
            time.sleep(PAUSE_SECONDS)

    def _ask(self, method: str, query: dict[str, str] | None = None) -> dict[str, Any]:
        path = f"/{'status' if method == 'GET' else 'request'}/{self.id}"
        longer_seconds = float((query or {}).get("wait", 0))
        status = self.http.ask_json(method, path, token=self.token, query=query, longer_seconds=longer_seconds)
        if not isinstance(status, dict) or not {"state", "progress", "stage", "position", "error"} <= status.keys():
            raise self.http.stranger()
        self.service = status.get("service", self.service)
        return status

    def __repr__(self) -> str:
        return f"Ticket({self.id}, {self.service!r})"


def demand_success(status: dict[str, Any]) -> None:
    """Raise the error with which a ticket ended, if it did not succeed."""
    id, state = status["id"], status["state"]
    if state == "failed":
        error = status["error"] or {}
        raise Failed(str(error.get("detail") or f"Ticket {id} failed."), error)
    if state == "cancelled":
        raise GivenUp(f"Ticket {id} was given up.")
    if state == "expired":
        raise NotFound(f"The result of ticket {id} is no longer kept.")
