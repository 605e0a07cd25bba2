"""Load changed tasks while the service runs: ``python3 -m tomaat.services reload [SERVICE …]``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import sqlalchemy

from tomaat.database import QUEUED, DatabaseUnavailable, Hint, Hinter, connect
from tomaat.launch.own_database import with_database
from tomaat.tickets.reload_store import ReloadAsked, ReloadOutcome, ReloadStore
from TOMAATSettings import read_settings

LOOK_SECONDS = 0.2
SILENT = (
    "did not answer within {seconds:g} s. Most likely a ticket still holds its device: the files are loaded as soon as "
    "that has ended, and the log of TaskScheduling tells how it went."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask all sources that run, wait for each, and tell how it went; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python3 -m tomaat.services reload",
        description="Load the changed files of tasks; the former tasks serve until the new ones have loaded.",
    )
    parser.add_argument(
        "services", nargs="*", metavar="SERVICE", help="its file, changed or not; default: what changed"
    )
    asked = parser.parse_args(arguments)
    return with_database(lambda: reload(asked.services))


def reload(services: Sequence[str], *, none_runs: int = 1) -> int:
    """Ask for each service, or once for all that has changed; ``none_runs`` is the exit status if nobody is asked."""
    settings = read_settings()
    database = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds)
    try:
        return ask(database, list(services) or [None], longest=2 * settings.LOAD_DEADLINE_SECONDS, none_runs=none_runs)
    except DatabaseUnavailable as error:
        print(f"The database does not answer: {error}", file=sys.stderr)
        return 1


def ask(database: sqlalchemy.Engine, services: Sequence[str | None], *, longest: float, none_runs: int = 1) -> int:
    """Ask, and wait for the answers, at most for the ``longest`` time in seconds."""
    store = ReloadStore(database)
    waited = [each for service in services for each in store.ask(service)]
    if not waited:
        print("No TaskScheduling runs; it loads the files as they are when it starts.", file=sys.stderr)
        return none_runs
    hinter = Hinter(database)
    hinter.send(Hint(QUEUED))
    hinter.close()
    deadline = time.monotonic() + longest
    outcomes: dict[int, ReloadOutcome] = {}
    while len(outcomes) < len(waited) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        new = store.outcomes([each.id for each in waited if each.id not in outcomes])
        for each in waited:
            if each.id in new:
                print(f"{each.source}: {new[each.id].says}")
        outcomes |= new
    return told(waited, outcomes, longest)


def told(waited: Sequence[ReloadAsked], outcomes: dict[int, ReloadOutcome], longest: float) -> int:
    """Tell which sources did not answer; return the exit status."""
    silent = [each.source for each in waited if each.id not in outcomes]
    for source in silent:
        print(f"{source}: {SILENT.format(seconds=longest)}", file=sys.stderr)
    return 1 if silent or any(outcome.failed for outcome in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
