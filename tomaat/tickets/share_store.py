"""Count the seconds that each API key's tickets have run lately, for QueueManager."""

from __future__ import annotations

import sqlalchemy

from tomaat.database import run
from tomaat.tickets.priorities import RANKS
from tomaat.tickets.queue import Share

HALF_LIFE_SECONDS = 3600.0  #: in which half of what was used is forgotten
SETTLED_SECONDS = 2.0  #: after a ticket's end it is counted: then its commit is surely made
LATEST_SECONDS = 600.0  #: what ended before is not counted any more
FORGOTTEN_SECONDS = 0.001  #: a key that used less is as good as new

#: The moments after which and until which tickets ended that are counted now; none of a clock that was set back since.
SPAN = f"""SELECT greatest(now - make_interval(secs => {LATEST_SECONDS}),
        (SELECT max(counted) FROM shares WHERE counted <= now)) AS since,
      now - make_interval(secs => {SETTLED_SECONDS}) AS until
    FROM (SELECT clock_timestamp() AS now) n"""
#: What is left of one second that was counted; PostgreSQL refuses numbers that are too small.
FADED = f"""power(CAST(0.5 AS double precision),
    least(200, greatest(0, extract(epoch FROM {{now}} - s.counted)) / {HALF_LIFE_SECONDS}))"""


class ShareStore:
    """Reads and writes the table ``shares``; the manager alone writes it."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database

    def count(self) -> None:
        """Add the running times of the tickets that have ended since the last time, whatever their end."""
        ended = " UNION ALL ".join(
            f"""SELECT coalesce(key_name, '') AS key_name, priority, extract(epoch FROM finished - started) AS seconds
                FROM tickets, span WHERE finished IS NOT NULL AND {files}
                  AND finished > span.since AND finished <= span.until AND started <= finished"""
            for files in ("NOT files_removed", "files_removed")
        )
        run(
            self.database,
            f"""WITH span AS MATERIALIZED ({SPAN})
                INSERT INTO shares AS s (key_name, priority, used_seconds, counted)
                SELECT key_name, priority, sum(seconds), span.until FROM ({ended}) ended, span
                GROUP BY key_name, priority, span.until
                ON CONFLICT (key_name, priority) DO UPDATE
                  SET used_seconds = s.used_seconds * {FADED.format(now="excluded.counted")} + excluded.used_seconds,
                      counted = excluded.counted""",
        )

    def read(self) -> dict[str, Share]:
        """Tell the weight of each key, and what it has used lately; a key without either is left out."""
        rows = run(
            self.database,
            f"""SELECT coalesce(k.name, s.key_name) AS key_name, coalesce(k.weight, 1) AS weight, s.priority,
                  s.used_seconds * {FADED.format(now="clock_timestamp()")} AS seconds
                FROM (SELECT * FROM api_keys WHERE weight <> 1) k FULL JOIN shares s ON s.key_name = k.name""",
        )
        found: dict[str, Share] = {}
        for row in rows:
            share = found.setdefault(row.key_name, Share(weight=row.weight, used_seconds={}))
            if row.priority in RANKS and row.seconds > FORGOTTEN_SECONDS:
                share.used_seconds[RANKS[row.priority]] = float(row.seconds)
        return found
