"""API keys: each lets somebody submit, for some services, up to a share of the queue."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy
from sqlalchemy.exc import IntegrityError

from tomaat.access.hashing import hash_of
from tomaat.database import Row, RowRefused, run
from tomaat.tickets.priorities import PRIORITIES, USUAL
from tomaat.tickets.sql import WAITING

KEY_BYTES = 32
COLUMNS = "name, services, created, revoked, operator, priorities, weight"
PREFIX = "tomaat_"  #: by which a secret scanner, or a person, knows a key


class KeyExists(Exception):
    """A key of this name was made already; names are never used again."""


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it is known afterwards: by its name."""

    name: str
    services: tuple[str, ...] | None  #: ``None``: all
    created: datetime
    revoked: datetime | None
    operator: bool = False  #: may see all tickets, and act, at /queues
    priorities: tuple[str, ...] = USUAL  #: that it may ask for
    weight: float = 1.0  #: turns that it has for one of another key

    def allows(self, service: str) -> bool:
        """Tell whether this key may ask for a service."""
        return self.services is None or service in self.services


@dataclass(frozen=True, kw_only=True)
class Usage:
    """The present use of the server by one key, counted up to the limits in question."""

    waiting: int
    within_a_minute: int


class KeyStore:
    """The table ``api_keys``."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database

    def make(
        self,
        name: str,
        services: Collection[str] | None,
        *,
        operator: bool = False,
        priorities: Collection[str] = USUAL,
        weight: float = 1.0,
    ) -> str:
        """Make a key and return it, the only time that it is seen. Raises ``KeyExists``."""
        key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
        try:
            run(
                self.database,
                """INSERT INTO api_keys (name, key_hash, services, operator, priorities, weight)
                   VALUES (:name, :hash, :services, :operator, :priorities, :weight)""",
                name=name,
                hash=hash_of(key),
                services=None if services is None else sorted(services),
                operator=operator,
                priorities=[priority for priority in PRIORITIES if priority in priorities],
                weight=weight,
            )
        except RowRefused as refused:
            if not isinstance(refused.__cause__, IntegrityError):
                raise
            raise KeyExists(f"{name!r} was made already, and names are never used again; choose another.") from None
        return key

    def change(self, name: str, *, priorities: Collection[str] | None, weight: float | None) -> bool:
        """Let a key ask for other priorities, or give it another weight; return whether there is such a key."""
        rows = run(
            self.database,
            """UPDATE api_keys SET priorities = coalesce(CAST(:priorities AS text[]), priorities),
                 weight = coalesce(CAST(:weight AS double precision), weight)
               WHERE name = :name AND revoked IS NULL RETURNING name""",
            name=name,
            priorities=None if priorities is None else [each for each in PRIORITIES if each in priorities],
            weight=weight,
        )
        return bool(rows)

    def revoke(self, name: str) -> bool:
        """End a key; return whether there was one to end."""
        rows = run(
            self.database,
            "UPDATE api_keys SET revoked = clock_timestamp() WHERE name = :name AND revoked IS NULL RETURNING name",
            name=name,
        )
        return bool(rows)

    def all(self) -> list[ApiKey]:
        """List all keys that were ever made, the oldest first."""
        rows = run(self.database, f"SELECT {COLUMNS} FROM api_keys ORDER BY created, name")
        return [_key_of(row) for row in rows]

    def find(self, key: str) -> ApiKey | None:
        """Find a key that is not revoked, by the hash of a client's text."""
        rows = run(
            self.database,
            f"SELECT {COLUMNS} FROM api_keys WHERE key_hash = :hash AND revoked IS NULL",
            hash=hash_of(key),
        )
        return _key_of(rows[0]) if rows else None

    def usage(self, name: str, *, most_waiting: int, most_within_a_minute: int) -> Usage:
        """Count a key's waiting tickets and its tickets of the last minute, each up to a limit."""
        rows = run(
            self.database,
            f"""SELECT (SELECT count(*) FROM (SELECT FROM tickets WHERE key_name = :name
                         AND state IN {WAITING} LIMIT :most_waiting) AS waiting) AS waiting,
                      (SELECT count(*) FROM (SELECT FROM tickets WHERE key_name = :name
                         AND created > clock_timestamp() - interval '1 minute'
                         AND created <= clock_timestamp() LIMIT :most) AS new) AS new""",
            name=name,
            most_waiting=most_waiting,
            most=most_within_a_minute,
        )
        return Usage(waiting=rows[0].waiting, within_a_minute=rows[0].new)


def _key_of(row: Row) -> ApiKey:
    return ApiKey(
        name=row.name,
        services=None if row.services is None else tuple(row.services),
        created=row.created,
        revoked=row.revoked,
        operator=row.operator,
        priorities=tuple(row.priorities),
        weight=row.weight,
    )
