"""Let requests in by their API keys, up to the limits of each."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from tomaat.access.hashing import hash_of
from tomaat.access.key_store import ApiKey, KeyStore
from tomaat.tickets.priorities import USUAL
from tomaat.web.http.addresses import Proxies
from tomaat.web.http.problems import Problem, retry_later
from tomaat.web.http.wrong_keys import WrongKeys

HEADER = "X-API-Key"
KNOWN_SECONDS = 3600.0


class Access:
    """Lets requests in. A key that is shown must be right, also where none is needed."""

    def __init__(
        self,
        keys: KeyStore,
        proxies: Proxies,
        *,
        needed: bool,
        most_waiting: int,
        most_within_a_minute: int,
        most_wrong_keys: int,
        priorities: Sequence[str] = USUAL,
    ) -> None:
        self.keys = keys
        self.proxies = proxies
        self.wrong = WrongKeys(proxies, most=most_wrong_keys)
        self.needed = needed
        self.most_waiting = most_waiting
        self.most_within_a_minute = most_within_a_minute
        self.without_key = tuple(priorities)
        self.known: dict[bytes, float] = {}  #: hashes of keys that were right, and when last

    def admit(self, shown: str | None, address: str) -> ApiKey | None:
        """Let a submission in, or raise the ``Problem`` that keeps it out, before its body is read."""
        if not shown:
            self.demand_some(shown)
            return None
        key = self.find(shown, address)
        self._limit(key)
        return key

    def priorities(self, key: ApiKey | None) -> tuple[str, ...]:
        """Tell which priorities a key may ask for, or a request without one."""
        return self.without_key if key is None else key.priorities

    def demand_some(self, shown: str | None) -> None:
        """Raise a ``Problem`` where a key is needed and none is shown; no database is asked."""
        if self.needed and not shown:
            raise _key_needed(f"This server takes requests with an API key only, in the header {HEADER}.")

    def was_right(self, shown: str) -> bool:
        """Tell whether a key was right within the last hour; no database is asked."""
        return time.monotonic() - self.known.get(hash_of(shown), -math.inf) < KNOWN_SECONDS

    def find(self, shown: str, address: str) -> ApiKey:
        """Find a key, or raise the ``Problem`` of a wrong one; of an address that shows many, none is looked for."""
        if not self.was_right(shown):
            self.wrong.demand_few(address)
        key = self.keys.find(shown)
        if key is None:
            self.known.pop(hash_of(shown), None)
            self.wrong.note(address)
            raise _key_needed(f"The API key in {HEADER} is wrong or was revoked.")
        self.known[hash_of(shown)] = time.monotonic()
        return key

    def demand_operator(self, shown: str | None, address: str) -> ApiKey:
        """Let an operator in, or raise the ``Problem`` that keeps others out, also where no other key is needed."""
        if not shown:
            raise _key_needed(f"An operator's API key is needed, in the header {HEADER}.")
        key = self.find(shown, address)
        if not key.operator:
            made = "python3 -m tomaat.access make NAME --operator"
            detail = f"The API key {key.name} is no operator's; `{made}` makes one."
            raise Problem(403, "operator-needed", "Operator needed", detail)
        return key

    def _limit(self, key: ApiKey) -> None:
        usage = self.keys.usage(
            key.name, most_waiting=self.most_waiting, most_within_a_minute=self.most_within_a_minute
        )
        if usage.waiting >= self.most_waiting:
            detail = f"{usage.waiting} tickets of the API key {key.name} wait already; try again later."
            raise retry_later(429, "queue-full", "Queue full", detail, 30)
        if usage.within_a_minute >= self.most_within_a_minute:
            detail = f"The API key {key.name} made {usage.within_a_minute} tickets within a minute; try again later."
            raise retry_later(429, "busy", "Too many requests", detail, 10)


def demand_service(key: ApiKey | None, service: str) -> None:
    """Raise a ``Problem`` unless the key may ask for the service."""
    if key is not None and not key.allows(service):
        detail = f"The API key {key.name} may not ask for {service}; it may ask for {', '.join(key.services or ())}."
        raise Problem(403, "service-not-allowed", "Service not allowed", detail)


def _key_needed(detail: str) -> Problem:
    return Problem(401, "key-needed", "API key needed", detail, headers={"WWW-Authenticate": HEADER})
