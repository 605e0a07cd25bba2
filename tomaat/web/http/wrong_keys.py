"""Bound how many wrong API keys an address may try."""

from __future__ import annotations

import time

from tomaat.web.http.addresses import Proxies, one_for_all
from tomaat.web.http.problems import retry_later

WINDOW_SECONDS = 60


class WrongKeys:
    """Counts wrong keys by the minute and the address; two threads at once may count one too few.

    A trusted proxy that does not say for whom it speaks is not bounded: one of its clients would shut out all others.
    """

    def __init__(self, proxies: Proxies, *, most: int) -> None:
        self.proxies = proxies
        self.most = most
        self.minute = 0
        self.counts: dict[str, int] = {}

    def demand_few(self, address: str) -> None:
        """Raise the ``Problem`` of an address that has shown too many within this minute."""
        if self._counts().get(one_for_all(address), 0) >= self.most:
            detail = f"{self.most} wrong API keys came from your address within a minute; try again later."
            raise retry_later(429, "busy", "Too many wrong keys", detail, WINDOW_SECONDS)

    def note(self, address: str) -> None:
        """Count one."""
        if not self.proxies.trusts(address):
            counts = self._counts()
            name = one_for_all(address)
            counts[name] = counts.get(name, 0) + 1

    def _counts(self) -> dict[str, int]:
        """Give the counts of this minute; those of the last one are forgotten."""
        minute = int(time.monotonic() // WINDOW_SECONDS)
        if minute != self.minute:
            self.minute, self.counts = minute, {}
        return self.counts
