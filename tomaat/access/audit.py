"""The audit trail: a line for each act, with its actor, ticket, outcome and time. It only grows."""

from __future__ import annotations

import sqlalchemy

from tomaat.database import run


class Audit:
    """Writes down the acts on patients' data; a submission and a deletion are written with their own row."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database

    def note(self, *, who: str, what: str, outcome: str, ticket: int | None = None) -> None:
        """Add a line. Raises ``DatabaseUnavailable``."""
        run(
            self.database,
            "INSERT INTO audit (who, what, ticket, outcome) VALUES (:who, :what, :ticket, :outcome)",
            who=who,
            what=what,
            ticket=ticket,
            outcome=outcome,
        )
