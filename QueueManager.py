"""Gives each submitted ticket to the shortest queue, takes tickets back from the dead, expires old ones.

Runs alone: ``python3 QueueManager.py``. It waits for the database, and for another QueueManager to end.
"""

from __future__ import annotations

import sys
from functools import partial

from tomaat.database import IDLE, SUBMITTED, Hinter, Hints, connect
from tomaat.launch.open_door import open_door, prepare
from tomaat.manager.manager import Manager, Rules
from tomaat.manager.sweep import Sweep
from tomaat.manager.withdrawals import Withdrawals
from tomaat.processes.stop import Stop
from tomaat.storage import Storage
from tomaat.tickets.instance import mismatch
from tomaat.tickets.manager_store import ManagerStore
from tomaat.tickets.question_store import QuestionStore
from tomaat.tickets.source_store import SourceStore
from tomaat.tickets.withdrawal_store import WithdrawalStore
from TOMAATSettings import Settings, read_settings


def manage(settings: Settings, stop: Stop) -> None:
    """Do round after round until the door is asked to stop."""
    database = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds)
    storage = Storage(settings.BASE_STORAGE_DIR)
    if not prepare(database, storage, stop):
        return
    hinter = Hinter(database)
    hints = Hints(settings.DATABASE_URL, SUBMITTED, IDLE, deadline_seconds=settings.database_deadline_seconds)
    stop.also_wake(hints.wake)
    store = ManagerStore(database, hinter.send, lease_seconds=settings.LEASE_SECONDS, night_hours=settings.NIGHT_HOURS)
    questions = QuestionStore(database, hinter.send)
    sweep = Sweep(
        store,
        storage,
        questions,
        pair=partial(mismatch, database, storage),
        strategy=settings.STORAGE_STRATEGY,
        retention_hours=settings.RETENTION_HOURS,
    )
    keeps_fetched = settings.STORAGE_STRATEGY == "KEEP_ALL"
    rules = Rules(
        attempts=settings.ATTEMPTS,
        wait_limit_hours=settings.WAIT_LIMIT_HOURS,
        retention_hours=settings.RETENTION_HOURS,
        fetched_grace_seconds=None if keeps_fetched else settings.FETCHED_GRACE_SECONDS,
        ticket_days=settings.TICKET_DAYS,
        audit_days=settings.AUDIT_DAYS,
        poll_seconds=settings.POLL_SECONDS,
        lease_seconds=settings.LEASE_SECONDS,
        clock_steady_seconds=settings.CLOCK_STEADY_SECONDS,
    )
    sources = SourceStore(database, lease_seconds=settings.LEASE_SECONDS)
    withdrawals = Withdrawals(WithdrawalStore(database, hinter.send), after_hours=settings.WITHDRAW_HOURS)
    manager = Manager(store, sources, questions, sweep, withdrawals, rules=rules)
    sweep.start()
    manager.manage(hints, stop)
    manager.close()
    hinter.close()


def main() -> int:
    """Open the door; return its exit status."""
    settings = read_settings()
    return open_door("QueueManager", settings.LOG_FORMAT, settings.LOG_LEVEL, lambda stop: manage(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
