"""Withdraw the services that no compute source has offered for long, and fail the tickets that wait for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

import sqlalchemy

from tomaat.database import Hint, run
from tomaat.tickets.hints import hints_of
from tomaat.tickets.manager_store import ANY_TIME, Within
from tomaat.tickets.problems import service_withdrawn
from tomaat.tickets.row_by_row import RowByRow
from tomaat.tickets.sql import FAIL, HELD, OFFERS, ago
from tomaat.tickets.states import FAILED, MANAGER, SUBMITTED

MOST_FAILED = 1000  #: tickets in one statement
STRAGGLERS_SECONDS = 3600.0  #: so long the last offer is still known, for tickets that came while it was withdrawn

LONG_AGO = ago("seconds")
#: No present holder of a source offers it.
OFFERED_BY_NOBODY = f"NOT EXISTS (SELECT FROM leases l WHERE l.name = o.source AND l.epoch = o.epoch AND {HELD})"


@dataclass(frozen=True, kw_only=True)
class WithdrawnService:
    """A service that tickets wait for, and that no source has offered for long."""

    service: str
    interface_hash: str


class WithdrawalStore:
    """Writes when services were offered last, and withdraws them."""

    def __init__(self, database: sqlalchemy.Engine, hint: Callable[[Hint], None]) -> None:
        self.database = database
        self.hint = hint
        self.tickets = RowByRow(database, "tickets", word="ticket")

    def note_offered(self) -> None:
        """Write that the present offers of all held sources are offered now."""
        run(
            self.database,
            f"""INSERT INTO last_offered (interface_hash, service)
               SELECT DISTINCT ON (o.interface_hash) o.interface_hash, o.service FROM {OFFERS} WHERE {HELD}
               ORDER BY o.interface_hash
               ON CONFLICT (interface_hash) DO UPDATE SET at = clock_timestamp()""",
        )

    def withdraw(self, *, hours: float, within: Within = ANY_TIME) -> list[str]:
        """Delete the offers that no source has made for ``hours``; return the names of their services."""
        rows = run(
            self.database,
            f"""WITH withdrawn AS (
                 DELETE FROM offers o WHERE {OFFERED_BY_NOBODY} AND o.offered < {LONG_AGO}
                   AND coalesce((SELECT at FROM last_offered a WHERE a.interface_hash = o.interface_hash), o.offered)
                     < {LONG_AGO}
                 RETURNING service
               ), names AS (SELECT DISTINCT service FROM withdrawn), noted AS (
                 INSERT INTO audit (who, what, outcome) SELECT :who, 'withdraw', service FROM names
               )
               SELECT service FROM names ORDER BY service""",
            seconds=hours * 3600,
            who=MANAGER,
            **asdict(within),
        )
        return [row.service for row in rows]

    def awaited(self, *, hours: float, within: Within = ANY_TIME) -> list[WithdrawnService]:
        """List the services that submitted tickets wait for, and that no source has offered for ``hours``."""
        rows = run(
            self.database,
            f"""SELECT service, interface_hash FROM (
                  SELECT service, interface_hash, min(created) AS oldest FROM tickets WHERE state = '{SUBMITTED}'
                  GROUP BY service, interface_hash) t
                WHERE NOT EXISTS (SELECT FROM offers o WHERE o.interface_hash = t.interface_hash)
                  AND coalesce((SELECT at FROM last_offered a WHERE a.interface_hash = t.interface_hash), t.oldest)
                    < {LONG_AGO}
                ORDER BY service""",
            seconds=hours * 3600,
            **asdict(within),
        )
        return [WithdrawnService(service=row.service, interface_hash=row.interface_hash) for row in rows]

    def fail_awaiting(self, withdrawn: WithdrawnService, *, hours: float, most: int = MOST_FAILED) -> list[int]:
        """Fail submitted tickets of a withdrawn service, unless a source offers it by now."""
        rows = self.tickets.change(
            FAIL,
            f"""t.state = '{SUBMITTED}' AND t.interface_hash = :interface_hash
                AND NOT EXISTS (SELECT FROM offers o WHERE o.interface_hash = :interface_hash)""",
            most=most,
            interface_hash=withdrawn.interface_hash,
            error=json.dumps(service_withdrawn(withdrawn.service, hours)),
        )
        if rows:
            for hint in hints_of(SUBMITTED, FAILED, MANAGER):
                self.hint(hint)
        return [row.id for row in rows]

    def forget_withdrawn(self, *, hours: float, within: Within = ANY_TIME) -> None:
        """Delete what is known of services that were withdrawn a while ago."""
        run(
            self.database,
            f"""DELETE FROM last_offered a WHERE at < {LONG_AGO}
               AND NOT EXISTS (SELECT FROM offers o WHERE o.interface_hash = a.interface_hash)""",
            seconds=hours * 3600 + STRAGGLERS_SECONDS,
            **asdict(within),
        )
