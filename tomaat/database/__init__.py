"""PostgreSQL: the connection with its deadline, the hints, the schema."""

from tomaat.database.connection import DatabaseUnavailable, RowRefused, connect, wait_for_database
from tomaat.database.facts import ServerFacts, server_facts
from tomaat.database.hinter import Hinter
from tomaat.database.hints import CHANGED, QUEUED, SUBMITTED, Hints, hint, hints_arrive
from tomaat.database.migrate import SchemaTooNew, applied_migrations, known_migrations, migrate
from tomaat.database.run import run

__all__ = [
    "CHANGED",
    "QUEUED",
    "SUBMITTED",
    "DatabaseUnavailable",
    "Hinter",
    "Hints",
    "RowRefused",
    "SchemaTooNew",
    "ServerFacts",
    "applied_migrations",
    "connect",
    "hint",
    "hints_arrive",
    "known_migrations",
    "migrate",
    "run",
    "server_facts",
    "wait_for_database",
]
