"""The audit trail: a line for each act, with its actor, ticket, outcome and time. It only grows."""

from __future__ import annotations

import time
from collections import Counter
from queue import Empty, SimpleQueue

import sqlalchemy
import structlog

from tomaat.database import DatabaseUnavailable, run
from tomaat.tickets.actors import ANYBODY

log = structlog.get_logger()

COUNTED_SECONDS = 60.0  #: after which the refusals of one kind become a line


class Audit:
    """Writes down the acts on patients' data; a submission and a deletion are written with their own row.

    Refusals without an API key are counted, and written as one line for each kind and minute: anybody could else fill
    the table. A process that is killed loses the counts of its last minute.
    """

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database
        self.arriving: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self.counted: Counter[tuple[str, str]] = Counter()
        self.written = time.monotonic()

    def note(self, *, who: str, what: str, outcome: str, ticket: int | None = None, times: int = 1) -> None:
        """Add a line. Raises ``DatabaseUnavailable``."""
        run(
            self.database,
            "INSERT INTO audit (who, what, ticket, outcome, times) VALUES (:who, :what, :ticket, :outcome, :times)",
            who=who,
            what=what,
            ticket=ticket,
            outcome=outcome,
            times=times,
        )

    def count(self, *, what: str, outcome: str) -> None:
        """Count a refusal of somebody who has no API key; any thread may."""
        self.arriving.put((what, outcome))

    def write_counts(self, *, at_once: bool = False) -> None:
        """Write what was counted, once a minute has passed; one thread calls this every few seconds.

        Where the database does not answer, the counts are kept for the next call.
        """
        while True:
            try:
                self.counted[self.arriving.get_nowait()] += 1
            except Empty:
                break
        if not at_once and time.monotonic() - self.written < COUNTED_SECONDS:
            return
        self.written = time.monotonic()
        try:
            for (what, outcome), times in list(self.counted.items()):
                self.note(who=ANYBODY, what=what, outcome=outcome, times=times)
                del self.counted[what, outcome]
        except DatabaseUnavailable as error:
            log.warning("database.lost", reason=str(error))
