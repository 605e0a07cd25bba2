"""Look each minute which services no compute source has offered for long, and withdraw them."""

from __future__ import annotations

import time

import structlog

from tomaat.tickets.manager_store import ANY_TIME, Within
from tomaat.tickets.withdrawal_store import MOST_FAILED, WithdrawalStore

log = structlog.get_logger()

EVERY_SECONDS = 60.0
#: The manager watches for so long before it withdraws anything: a machine that was off for long starts its sources
#: first.
WATCH_SECONDS = 3600.0


class Withdrawals:
    """Withdraws a service ``after_hours`` without an offer, once it has watched for a while without a gap."""

    def __init__(self, store: WithdrawalStore, *, after_hours: float) -> None:
        self.store = store
        self.after_hours = after_hours
        self.watch_seconds = min(WATCH_SECONDS, after_hours * 3600)
        self.began: float | None = None
        self.looked: float | None = None

    def look(self, *, within: Within = ANY_TIME, most: int = MOST_FAILED) -> bool:
        """Note what is offered, and withdraw the rest, once a minute at most; tell whether more tickets have to fail.

        A service counts as long withdrawn only ``within`` the expected time; ``most`` tickets of each fail at once.
        """
        now = time.monotonic()
        if self.looked is not None and now - self.looked < EVERY_SECONDS:
            return False
        if self.began is None or self.looked is None or now - self.looked > 2 * EVERY_SECONDS:
            self.began = now  # nobody watched meanwhile
        self.looked = now
        self.store.note_offered()
        more = now - self.began >= self.watch_seconds and self._withdraw(within, most)
        if more:
            self.looked = now - EVERY_SECONDS
        return more

    def _withdraw(self, within: Within, most: int) -> bool:
        for service in self.store.withdraw(hours=self.after_hours, within=within):
            log.warning("service.withdrawn", service=service, hours_without_an_offer=self.after_hours)
        failed = 0
        for withdrawn in self.store.awaited(hours=self.after_hours, within=within):
            for ticket in self.store.fail_awaiting(withdrawn, hours=self.after_hours, most=most - failed):
                log.warning("ticket.failed", ticket=ticket, reason="its service was withdrawn")
                failed += 1
            if failed >= most:
                return True
        self.store.forget_withdrawn(hours=self.after_hours, within=within)
        return False
