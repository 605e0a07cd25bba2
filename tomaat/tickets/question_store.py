"""What the manager does only once an operator agrees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy

from tomaat.database import SUBMITTED, Hint, run

CLOCK = "clock"  #: the clock that was set is right
QUARANTINE = "quarantine"  #: so many folders belong to no ticket, and may be put away
SUBJECTS = (CLOCK, QUARANTINE)
OPERATOR = "operator"  #: in the audit trail: who is at the server's command line has no key's name


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question that waits for an operator's word, or for the manager to act on it."""

    what: str
    detail: str
    amount: int  #: seconds or folders; the agreement is about no more
    asked: datetime
    agreed: datetime | None


class QuestionStore:
    """The table ``questions``: the manager asks, an operator agrees, the manager acts once."""

    def __init__(self, database: sqlalchemy.Engine, hint: Callable[[Hint], None]) -> None:
        self.database = database
        self.hint = hint

    def all(self) -> list[Question]:
        """List the questions."""
        rows = run(self.database, "SELECT what, detail, amount, asked, agreed FROM questions ORDER BY what")
        return [Question(**row._asdict()) for row in rows]

    def ask(self, what: str, detail: str, amount: int) -> None:
        """Ask an operator; an agreement to less than ``amount`` is void."""
        run(
            self.database,
            """INSERT INTO questions AS q (what, detail, amount) VALUES (:what, :detail, :amount)
               ON CONFLICT (what) DO UPDATE SET detail = :detail, amount = :amount,
                 agreed = CASE WHEN q.amount >= :amount THEN q.agreed END""",
            what=what,
            detail=detail,
            amount=amount,
        )

    def agree(self, what: str) -> Question | None:
        """Agree, as an operator; ``None`` where nothing of that kind is asked."""
        rows = run(
            self.database,
            """WITH agreed AS (
                 UPDATE questions SET agreed = clock_timestamp() WHERE what = :what
                 RETURNING what, detail, amount, asked, agreed
               ), noted AS (
                 INSERT INTO audit (who, what, outcome) SELECT :operator, 'agree', what || ': ' || detail FROM agreed
               )
               SELECT * FROM agreed""",
            what=what,
            operator=OPERATOR,
        )
        self.hint(Hint(SUBMITTED))
        return Question(**rows[0]._asdict()) if rows else None

    def take_agreement(self, what: str, amount: int = 0) -> bool:
        """Tell whether an operator agreed to at least ``amount``; the question is answered then, and counts once."""
        rows = run(
            self.database,
            "DELETE FROM questions WHERE what = :what AND agreed IS NOT NULL AND amount >= :amount RETURNING what",
            what=what,
            amount=amount,
        )
        return bool(rows)

    def withdraw(self, what: str) -> None:
        """Ask no longer."""
        run(self.database, "DELETE FROM questions WHERE what = :what", what=what)
