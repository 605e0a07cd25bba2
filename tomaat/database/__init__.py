"""PostgreSQL: the connection with its deadline, the hints, the schema."""

from tomaat.database.connection import DatabaseUnavailable, RowRefused, connect, wait_for_database
from tomaat.database.facts import ServerFacts, server_facts
from tomaat.database.hint import ENDED, IDLE, MOVED, QUEUED, SUBMITTED, WISHED, Hint
from tomaat.database.hinter import Hinter
from tomaat.database.hints import Hints, hints_arrive, send_hints
from tomaat.database.migrate import SchemaTooNew, applied_migrations, known_migrations, migrate
from tomaat.database.run import Row, Rows, run, run_prepared

__all__ = [
    "ENDED",
    "IDLE",
    "MOVED",
    "QUEUED",
    "SUBMITTED",
    "WISHED",
    "DatabaseUnavailable",
    "Hint",
    "Hinter",
    "Hints",
    "Row",
    "RowRefused",
    "Rows",
    "SchemaTooNew",
    "ServerFacts",
    "applied_migrations",
    "connect",
    "hints_arrive",
    "known_migrations",
    "migrate",
    "run",
    "run_prepared",
    "send_hints",
    "server_facts",
    "wait_for_database",
]
