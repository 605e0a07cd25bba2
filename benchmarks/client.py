"""A client of a service's tickets that costs little itself, and many of them at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from urllib.parse import urlsplit

BOUNDARY = "benchmark"
WAIT_SECONDS = 25
LONGEST_SECONDS = 120.0  #: after which a ticket is given up


class Client:
    """One connection that stays open, for one thread. Raises ``RuntimeError`` for an answer that nobody wants."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def submit(self, service: str, payload: bytes) -> str:
        """Send a payload; return where its result will be."""
        parts = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="service"\r\n\r\n{service}\r\n'
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="payload"; filename="p.tar.gz"\r\n\r\n'
        )
        body = b"".join([parts.encode(), payload, f"\r\n--{BOUNDARY}--\r\n".encode()])
        self.connection.request("POST", "/request", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
        answer = self.connection.getresponse()
        said = answer.read()
        if answer.status != HTTPStatus.ACCEPTED:
            raise RuntimeError(f"submitting: {answer.status} {said.decode(errors='replace')}")
        return str(json.loads(said)["links"]["result"])

    def fetch(self, result: str) -> bytes:
        """Fetch a result, by one waiting request, and another where a server was too busy to wait."""
        give_up = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < give_up:
            self.connection.request("GET", f"{result}?wait={WAIT_SECONDS}")
            answer = self.connection.getresponse()
            said = answer.read()
            if answer.status == HTTPStatus.OK:
                return said
            if answer.headers["Retry-After"] is None:
                raise RuntimeError(f"fetching: {answer.status} {said.decode(errors='replace')}")
            time.sleep(0.01)
        raise RuntimeError(f"fetching: no result within {LONGEST_SECONDS:.0f} s")

    def ticket(self, service: str, payload: bytes) -> bytes:
        """Submit and fetch."""
        return self.fetch(self.submit(service, payload))


def from_clients(url: str, clients: int, times: int, act: Callable[[Client], object]) -> float:
    """Let some clients do a thing so many times together, each one after the other; return the seconds."""
    left = iter(range(times))

    def work(_: int) -> None:
        with contextlib.closing(Client(url)) as client:
            for _ in left:
                act(client)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        try:
            list(pool.map(work, range(clients)))
        finally:
            deque(left, maxlen=0)  # where one failed, or all are interrupted, no other thing is begun
    return time.perf_counter() - began
