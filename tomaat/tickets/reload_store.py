"""Ask the compute sources to load changed tasks, and tell how it went."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy

from tomaat.database import run
from tomaat.tickets.sql import HELD

KEPT_HOURS = 24  #: of what was asked


@dataclass(frozen=True, kw_only=True)
class ReloadAsked:
    """One source's part of what an operator has asked for."""

    id: int
    source: str
    service: str | None  #: ``None``: everything that has changed


@dataclass(frozen=True, kw_only=True)
class ReloadOutcome:
    """How one source's part went."""

    failed: bool
    says: str  #: for people


class ReloadStore:
    """Writes and reads the table ``reloads``."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database

    def ask(self, service: str | None) -> list[ReloadAsked]:
        """Ask each source that is held; forget what was asked long ago."""
        run(
            self.database,
            "DELETE FROM reloads WHERE asked < clock_timestamp() - make_interval(hours => :hours)",
            hours=KEPT_HOURS,
        )
        rows = run(
            self.database,
            f"""INSERT INTO reloads (source, service)
                SELECT l.name, :service FROM leases l JOIN compute_sources s ON s.name = l.name
                WHERE {HELD} ORDER BY l.name RETURNING id, source""",
            service=service,
        )
        return [ReloadAsked(id=row.id, source=row.source, service=service) for row in rows]

    def asked(self, sources: Collection[str]) -> list[ReloadAsked]:
        """List what is asked of some sources and not done yet, the oldest first."""
        rows = run(
            self.database,
            "SELECT id, source, service FROM reloads WHERE failed IS NULL AND source = ANY(:sources) ORDER BY id",
            sources=list(sources),
        )
        return [ReloadAsked(id=row.id, source=row.source, service=row.service) for row in rows]

    def done(self, id: int, outcome: ReloadOutcome) -> None:
        """Write how it went."""
        run(
            self.database,
            "UPDATE reloads SET failed = :failed, outcome = :says WHERE id = :id",
            id=id,
            failed=outcome.failed,
            says=outcome.says,
        )

    def outcomes(self, ids: Collection[int]) -> dict[int, ReloadOutcome]:
        """Tell how it went, of those that are done."""
        rows = run(
            self.database,
            "SELECT id, failed, outcome FROM reloads WHERE id = ANY(:ids) AND failed IS NOT NULL",
            ids=list(ids),
        )
        return {row.id: ReloadOutcome(failed=row.failed, says=row.outcome) for row in rows}
