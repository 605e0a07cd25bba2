"""Read the facts that a backup needs, and settle a restored database before a door uses it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator

import sqlalchemy

from tomaat.database import run
from tomaat.processes.holder import is_gone
from tomaat.storage.storage import TicketFolder
from tomaat.tickets.problems import files_lost
from tomaat.tickets.sql import FORGET_WORDS, UNENDED, back_to_waiting
from tomaat.tickets.states import EXPIRED, FAILED, RUNNING, SUCCEEDED

#: Doors fill these tables without any client. A database with rows in no other table holds nothing to be missed.
IDLE_TABLES = (
    *("instance", "schema_versions", "leases", "compute_sources", "offers", "durations", "last_offered", "questions"),
    *("reloads", "workers", "shares"),
)
BATCH = 1000

EMPTY = """
DO $$ DECLARE one record; BEGIN
  IF EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tomaat'
             AND pid <> {own}) THEN
    RAISE EXCEPTION 'a door uses this database: stop it first';
  END IF;
  FOR one IN SELECT format('DROP TABLE %I.%I CASCADE', current_schema(), relname) AS statement FROM pg_class c
             WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
               AND pg_get_userbyid(relowner) = current_user
               AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e') LOOP
    EXECUTE one.statement;
  END LOOP;
  FOR one IN SELECT format('DROP SEQUENCE %I.%I CASCADE', current_schema(), relname) AS statement FROM pg_class c
             WHERE relnamespace = current_schema()::regnamespace AND relkind = 'S'
               AND pg_get_userbyid(relowner) = current_user
               AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e') LOOP
    EXECUTE one.statement;
  END LOOP;
  FOR one IN SELECT format('DROP FUNCTION %s', p.oid::regprocedure) AS statement FROM pg_proc p
             WHERE pronamespace = current_schema()::regnamespace AND pg_get_userbyid(proowner) = current_user
               AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e') LOOP
    EXECUTE one.statement;
  END LOOP;
END $$;
"""  #: drops all tables, sequences and functions of the role

SETTLE = f"""
RESET search_path;
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS waiting_since timestamptz;
ALTER TABLE tickets ADD COLUMN IF NOT EXISTS label text;
UPDATE leases SET expires = clock_timestamp() - interval '1 microsecond';
UPDATE instance SET bound = true;
UPDATE tickets SET state = '{FAILED}', finished = clock_timestamp(), error = '{{lost}}', files_removed = true,
    epoch = NULL, {FORGET_WORDS}
  WHERE state IN {UNENDED} AND NOT cancel_requested
    AND NOT EXISTS (SELECT FROM kept WHERE kept.folder = tickets.folder);
UPDATE tickets SET {back_to_waiting()} WHERE state = '{RUNNING}';
UPDATE tickets SET state = '{EXPIRED}', files_removed = true, {FORGET_WORDS}
  WHERE state = '{SUCCEEDED}' AND NOT EXISTS (SELECT FROM kept WHERE kept.folder = tickets.folder);
INSERT INTO audit (who, what, outcome) VALUES ('restore', 'restore', 'restored');
"""  #: ends every lease, stops what ran, and fails or expires tickets without files. An older dump lacks columns


class BackupStore:
    """Reads the facts of a database for its backup, and whether a restore may replace it."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database

    def tables(self) -> list[str]:
        """Name the tables that are there."""
        rows = run(
            self.database,
            """SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
               ORDER BY relname""",
        )
        return [row.relname for row in rows]

    def instance(self) -> tuple[str, int]:
        """Tell the instance id and the version of the schema."""
        row = run(
            self.database,
            "SELECT CAST(id AS text) AS id, (SELECT max(version) FROM schema_versions) AS version FROM instance",
        )[0]
        return row.id, row.version

    def holds_something(self) -> bool:
        """Tell whether a table has rows that a person could miss."""
        names = [name for name in self.tables() if name not in IDLE_TABLES]
        quote = self.database.dialect.identifier_preparer.quote
        return any(run(self.database, f"SELECT FROM {quote(name)} LIMIT 1") for name in names)

    def living(self) -> list[str]:
        """Name the leases that are held and the doors that are connected; a restore needs all of them gone."""
        sessions = run(
            self.database,
            """SELECT pid FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'tomaat' AND pid <> pg_backend_pid()""",
        )
        living = ["a door that is connected"] if sessions else []
        if "leases" in self.tables():
            leases = run(
                self.database, "SELECT name, holder FROM leases WHERE expires > clock_timestamp() ORDER BY name"
            )
            living += [f"the holder of {lease.name}" for lease in leases if not is_gone(lease.holder)]
        return living

    def emptying(self) -> str:
        """Write the SQL before a dump in its transaction: it drops all of the role's, unless a door is connected."""
        return EMPTY.replace("{own}", str(run(self.database, "SELECT pg_backend_pid() AS pid")[0].pid))

    def results_of(self, folders: Collection[str]) -> dict[str, str | None]:
        """Map each folder of a ticket with files to its claim's folder with the result; ``None``: it has no result.

        The database may be one of an older version, whose rows do not name that folder.
        """
        found: dict[str, str | None] = {}
        names = sorted(folders)
        for start in range(0, len(names), BATCH):
            rows = run(
                self.database,
                f"""SELECT folder, CASE WHEN state = '{SUCCEEDED}' THEN
                     coalesce(to_jsonb(tickets)->>'claim_folder', CAST(claim AS text)) END AS out FROM tickets
                   WHERE folder = ANY(:folders) AND NOT files_removed""",
                folders=names[start : start + BATCH],
            )
            found |= {row.folder: row.out for row in rows}
        return found

    def counts(self) -> dict[str, int]:
        """Count the tickets in each state."""
        rows = run(self.database, "SELECT state, count(*) AS tickets FROM tickets GROUP BY state ORDER BY state")
        return {row.state: row.tickets for row in rows}


def settling(folders: Iterable[TicketFolder]) -> Iterator[str]:
    """Write the SQL after a dump in its transaction; ``folders`` are the tickets' folders in the backup."""
    yield "CREATE TEMP TABLE kept (folder text PRIMARY KEY);\nCOPY pg_temp.kept FROM stdin;\n"
    for folder in folders:
        yield folder.name + "\n"
    yield "\\.\n" + SETTLE.replace("{lost}", json.dumps(files_lost()).replace("'", "''"))
