"""List the compute sources, and forget one that is gone for good: ``tomaat-server sources forget here/cpu-0``.

``make sources ARGS="forget here/cpu-0"`` does the same in the private PostgreSQL.
"""

from __future__ import annotations

import argparse
import sys
import time

import sqlalchemy
from sqlalchemy.exc import ProgrammingError

from tomaat.database import DatabaseUnavailable, connect, send_hints
from tomaat.database.connection import first_line, mending, outages_named
from tomaat.processes.log import configure_logging
from tomaat.tickets.hints import EVERY_DOOR
from tomaat.tickets.source_store import Lease, SourceStore, take_lease
from tomaat.tickets.watch_store import SourceNow, WatchStore
from TOMAATSettings import read_settings

LOOK_SECONDS = 0.5
OLDER = "The door that starts next makes the tables, or brings them up to date."


def main() -> int:
    """Do what the command line says; return the exit status."""
    arguments = parse()
    settings = read_settings()
    configure_logging("sources", settings.LOG_FORMAT, settings.LOG_LEVEL)
    database = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds)
    try:
        with outages_named():
            if arguments.command == "forget":
                return forget(database, arguments.name, lease_seconds=settings.LEASE_SECONDS)
            for source in WatchStore(database).world().sources:
                print(described(source))
            return 0
    except DatabaseUnavailable as error:
        trouble = f"{error}. {mending(str(error), database.url)}"
    except ProgrammingError as error:
        says = first_line(error.orig)
        trouble = f"{says}. {mending(says, database.url, otherwise=OLDER)}"
    print(trouble, file=sys.stderr)
    return 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="tomaat-server sources", description="List and forget compute sources.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the compute sources by name")
    forgetting = commands.add_parser("forget", help="forget a source that is gone for good, its offers and durations")
    forgetting.add_argument("name", help="as `list` writes it: <host>/<GPU's UUID | cpu-n>")
    return parser.parse_args()


def forget(database: sqlalchemy.Engine, name: str, *, lease_seconds: float) -> int:
    """Forget a source. Its tickets go to other sources; it comes back by itself if a TaskScheduling takes it."""
    watch, store = WatchStore(database), SourceStore(database, lease_seconds=lease_seconds)
    before = watch.world()
    held = {source.name: source.held for source in before.sources}
    if name not in held:
        print(f"There is no compute source {name}; there are: {', '.join(held) or 'none yet'}.", file=sys.stderr)
        return 1
    lease = take_lease(store, name)
    if lease is None and not held[name]:
        lease = _take_when_silent(store, name)
    if lease is None:
        says = f"A TaskScheduling holds {name}: end it, or take {name} out of its TOMAAT_COMPUTE_SOURCES, first."
        print(says, file=sys.stderr)
        return 1
    try:
        store.forget(lease)
    finally:
        store.release(lease)
    send_hints(database, EVERY_DOOR)
    print(f"{name} is forgotten.")
    gone = sorted(before.services.keys() - watch.world().services.keys())
    if gone:
        print(f"Nobody offers {', '.join(gone)} any more: new requests get 404, waiting tickets fail in time.")
    return 0


def _take_when_silent(store: SourceStore, name: str) -> Lease | None:
    """Take the lease of a holder that did not give it back, once it was silent for a lease."""
    print(f"Waiting {store.lease_seconds:g} s to see that nobody holds {name}.", file=sys.stderr)
    deadline = time.monotonic() + store.lease_seconds + LOOK_SECONDS
    lease = None
    while lease is None and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        lease = take_lease(store, name)
    return lease


def described(source: SourceNow) -> str:
    """Describe a source in a line."""
    held = "held" if source.held else "held by nobody"
    return f"{source.name}: {held}{', drained' if source.drained else ''}, {source.waiting} tickets wait"


if __name__ == "__main__":
    sys.exit(main())
