"""What waits in long queues behind their fronts: read now and then, and kept up to date between.

A round of the manager reads the front of each queue. The rest of a queue of 50,000 tickets only tells how long it is,
and that hardly changes between two rounds.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import sqlalchemy

from tomaat.database import run
from tomaat.tickets.priorities import RANK_BITS, rank_of
from tomaat.tickets.queue import NOBODY, Part
from tomaat.tickets.sql import DURATIONS, SECONDS_LEFT
from tomaat.tickets.states import QUEUED

SLICE = 2000  #: tickets of a rest that are read at once, so that a round stays short
SHARE = 0.02  #: of the time, spent reading the rests of queues
SHORTEST_SECONDS = 0.5  #: between two readings of the only long queue

Kind: TypeAlias = tuple[str, str, int]  #: of tickets: service, key, rank


@dataclass(kw_only=True)
class Rest:
    """What waits behind one queue's front, in parts: as it was read last, and what of it is read anew."""

    parts: dict[Kind, Part] = field(default_factory=dict)
    anew: dict[Kind, Part] = field(default_factory=dict)
    behind: int = 0  #: the ``queue_order`` of the last ticket of the front
    read_to: int | None = None  #: the highest ``queue_order`` that was read anew; ``None``: not begun
    read_at: float = 0.0  #: when all of it was read last

    def add(self, part: Part) -> None:
        """Add a ticket that was just queued, if it is behind the front."""
        if part.last <= self.behind:
            return
        _add(self.parts, part)
        if self.read_to is not None and part.last <= self.read_to:
            _add(self.anew, part)


class LongQueues:
    """Remembers the rest of each queue whose front is not all of it."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database
        self.rests: dict[str, Rest] = {}
        self.read_again_at = 0.0

    def complete(self, queues: Collection[dict[str, Any]], *, front: int) -> None:
        """Add to the ``line`` of each queue what waits behind its front of so many tickets.

        A rest that is not known yet is read whole; of the others one slice, now and then.
        """
        ends = {queue["name"]: _end_of_front(queue, front) for queue in queues}
        long = {name: end for name, end in ends.items() if end is not None}
        self.rests = {name: rest for name, rest in self.rests.items() if name in long}
        self._read(long)
        for name, end in long.items():
            self.rests[name].behind = end
        for queue in queues:
            if queue["name"] in long:
                rest = sorted(self.rests[queue["name"]].parts.values(), key=lambda part: part.last)
                queue["line"] += [{"state": QUEUED, **asdict(part)} for part in rest]

    def add(self, source: str, part: Part) -> None:
        """Note a ticket that was just queued, if it is behind a front."""
        if source in self.rests:
            self.rests[source].add(part)

    def _read(self, long: Mapping[str, int]) -> None:
        began = time.monotonic()
        unknown = long.keys() - self.rests.keys()
        for name in unknown:
            self.rests[name] = Rest()
            while not self._read_slice(name, long[name]):
                pass
        if not unknown:
            if not self.rests or began < self.read_again_at:
                return
            name = min(self.rests, key=lambda name: self.rests[name].read_at)
            self._read_slice(name, long[name])
        now = time.monotonic()
        self.read_again_at = now + max(SHORTEST_SECONDS / len(self.rests), (now - began) / SHARE)

    def _read_slice(self, name: str, end_of_front: int) -> bool:
        """Read the next slice of a rest; tell whether that was the last one."""
        rest = self.rests[name]
        rows = run(
            self.database,
            f"""SELECT t.service, coalesce(t.key_name, '{NOBODY}') AS key, min(t.queue_order) AS first,
                  max(t.queue_order) AS last, sum({SECONDS_LEFT}) AS seconds, count(*) AS tickets
                FROM (SELECT * FROM tickets WHERE source = :source AND state = '{QUEUED}' AND queue_order > :behind
                      ORDER BY queue_order LIMIT {SLICE}) t {DURATIONS}
                GROUP BY t.service, t.key_name, t.queue_order >> {RANK_BITS}""",
            source=name,
            behind=end_of_front if rest.read_to is None else max(end_of_front, rest.read_to),
        )
        for row in rows:
            part = Part(service=row.service, key=row.key, first=row.first, last=row.last, seconds=row.seconds)
            _add(rest.anew, part)
        if sum(row.tickets for row in rows) == SLICE:
            rest.read_to = max(row.last for row in rows)
            return False
        self.rests[name] = Rest(parts=rest.anew, read_at=time.monotonic())
        return True


def _add(parts: dict[Kind, Part], part: Part) -> None:
    kind = (part.service, part.key, rank_of(part.first))
    known = parts.get(kind)
    if known is not None:
        first, last = min(known.first, part.first), max(known.last, part.last)
        part = replace(part, first=first, last=last, seconds=known.seconds + part.seconds)
    parts[kind] = part


def _end_of_front(queue: Mapping[str, Any], front: int) -> int | None:
    """Tell the ``queue_order`` of the last ticket of a queue's front; ``None`` where the front is all of it."""
    waiting = [part for part in queue["line"] or () if part["state"] == QUEUED]
    if sum(part["tickets"] for part in waiting) < front:
        return None
    end: int = max(part["last"] for part in waiting)
    return end
