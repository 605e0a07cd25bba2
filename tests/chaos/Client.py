"""A client that keeps a journal: it sends again what has an unknown outcome, and looks at what it gets."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import tarfile
import threading
import time
from collections.abc import Callable
from typing import Any

import requests

from tests.chaos.Control import Control
from tests.service import ENDED, payload

CANARY = "Doe^Jane^19700101"  #: a patient's name in each upload; it may occur in no log and no database
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 10.0


class RoundTrip(threading.Thread):
    """One ticket from upload to result, through all faults, within ``patience_seconds``; its end is in the journal."""

    def __init__(
        self,
        url: str,
        control: Control,
        *,
        how: str = "well",
        service: str = "Chaos",
        delete: bool = False,
        patience_seconds: float,
    ) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.control = control
        self.service = service
        self.how = how
        self.delete = delete
        self.word = secrets.token_hex(8)
        self.nonce = f"{CANARY}-{self.word}"
        self.patience_seconds = patience_seconds
        self.give_up = 0.0
        self.ticket: dict[str, Any] = {}
        self.state = ""
        self.refused = 0  #: answers that there is no room now, or no database
        self.error: dict[str, Any] | None = None

    def run(self) -> None:
        """Submit, follow, fetch, and delete if asked to."""
        self.give_up = time.monotonic() + self.patience_seconds
        try:
            self._submit()
            self._follow()
            if self.state == "succeeded":
                self._fetch()
                if self.delete:
                    self._ask_deletion()
            self._note("done")
        except TimeoutError as error:
            self._note("gave up", during=str(error))

    def _note(self, event: str, **facts: Any) -> None:
        line = {"event": event, "nonce": self.nonce, "at": time.time(), "id": self.ticket.get("id"), **facts}
        self.control.note("clients", json.dumps(line))

    def _submit(self) -> None:
        inputs = {"nonce": self.nonce} | ({"how": self.how} if self.service == "Chaos" else {})
        data = payload(inputs)
        self.ticket = self._ask(lambda: self._post(data), 202, "submitting").json()
        self._note("accepted", token=self.ticket["token"])

    def _post(self, data: bytes) -> requests.Response:
        return requests.post(
            f"{self.url}/request",
            data={"service": self.service},
            files={"payload": ("payload.tar.gz", data)},
            headers={"Idempotency-Key": self.word},
            timeout=ANSWER_SECONDS,
        )

    def _follow(self) -> None:
        while self.state not in ENDED:
            status = self._ask(lambda: self._get("status"), 200, "waiting").json()
            self.state, self.error = status["state"], status["error"]
            if self.state not in ENDED:
                time.sleep(PAUSE_SECONDS)
        self._note("ended", state=self.state, error=(self.error or {}).get("type"))

    def _fetch(self) -> None:
        answer = self._ask(lambda: self._get("result"), 200, "fetching")
        sha256 = hashlib.sha256(answer.content).hexdigest()
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            file = archive.extractfile("result.json")
            outputs = {one["name"]: one.get("value") for one in json.load(file)["outputs"]}  # type: ignore[arg-type]
        self._note("fetched", etag_fits=answer.headers["ETag"] == f'"{sha256}"', got=outputs)

    def _ask_deletion(self) -> None:
        cancel = self.url + self.ticket["links"]["cancel"]
        self._ask(lambda: requests.delete(cancel, timeout=ANSWER_SECONDS), 200, "deleting")  # 202 until it is done
        self._ask(lambda: self._get("result"), 410, "seeing it gone")
        self._note("deleted")

    def _get(self, link: str) -> requests.Response:
        return requests.get(self.url + self.ticket["links"][link], timeout=ANSWER_SECONDS)

    def _ask(self, ask: Callable[[], requests.Response], status: int, doing: str) -> requests.Response:
        """Ask again until the answer has this status: an outage, a lost connection and a half body are passed over."""
        while time.monotonic() < self.give_up:
            try:
                answer = ask()
            except requests.RequestException:
                time.sleep(PAUSE_SECONDS)
                continue
            if answer.status_code == status:
                return answer
            self.refused += answer.status_code in {503, 507}
            if answer.status_code not in {503, 507, 202, 409, 410}:
                self._note("odd answer", status=answer.status_code, doing=doing)
            time.sleep(PAUSE_SECONDS)
        raise TimeoutError(doing)
