"""Read a PostgreSQL server's version and settings."""

from __future__ import annotations

import time
from dataclasses import dataclass

import sqlalchemy

from tomaat.database.run import run

#: PostgreSQL's settings that keep values of statements, which may name a patient, out of its log.
QUIET_LOG = {
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_min_duration_sample": "-1",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
}


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """A server's settings that matter to the doors."""

    version: int  #: such as 150004
    synchronous_commit: str
    connections: int  #: that a role without privileges may have, all programs together
    idle_session_seconds: float  #: after which an idle session is ended; 0: never
    may_create: bool  #: the role may make tables
    ahead_seconds: float  #: of this machine's clock
    talkative: tuple[str, ...]  #: settings by which its log may hold values of statements


def server_facts(database: sqlalchemy.Engine) -> ServerFacts:
    """Read them. Raises ``DatabaseUnavailable``."""
    run(database, "SELECT 1")  # connecting is no part of the time that the next statement takes
    before = time.time()
    row = run(
        database,
        """SELECT CAST(current_setting('server_version_num') AS integer) AS version,
             current_setting('synchronous_commit') AS synchronous_commit,
             CAST(current_setting('max_connections') AS integer)
               - CAST(current_setting('superuser_reserved_connections') AS integer) AS connections,
             coalesce(extract(epoch FROM CAST(nullif(current_setting('idle_session_timeout', true), '') AS interval)),
               0) AS idle_session_seconds,
             has_schema_privilege('public', 'CREATE') AS may_create,
             extract(epoch FROM clock_timestamp()) AS clock""",
    )[0]
    after = time.time()
    logs = run(database, "SELECT name, setting FROM pg_settings WHERE name = ANY(:names)", names=list(QUIET_LOG))
    return ServerFacts(
        version=row.version,
        synchronous_commit=row.synchronous_commit,
        connections=row.connections,
        idle_session_seconds=float(row.idle_session_seconds),
        may_create=row.may_create,
        ahead_seconds=float(row.clock) - (before + after) / 2,
        talkative=tuple(sorted(each.name for each in logs if each.setting != QUIET_LOG[each.name])),
    )
