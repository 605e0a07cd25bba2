"""Runs the queued tickets: for each compute source, of this host or of a cluster, its lanes, each with a worker.

Runs alone: ``python3 TaskScheduling.py``. It waits for the database, and for another holder of a source to end.
"""

from __future__ import annotations

import sys

from tomaat.database import QUEUED, WISHED, Hinter, Hints, connect
from tomaat.launch.engines import make_engine, most_lanes, sources_here
from tomaat.launch.open_door import open_door, prepare
from tomaat.processes.stop import Stop
from tomaat.scheduling.environment import environments_of
from tomaat.scheduling.kept_tasks import keep_tasks
from tomaat.scheduling.lane_maker import LaneMaker
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.scheduler import Scheduler
from tomaat.scheduling.worker_user import find_worker_user
from tomaat.storage import Storage
from tomaat.tickets.reload_store import ReloadStore
from tomaat.tickets.source_store import SourceStore
from TOMAATSettings import Settings, read_settings

SOURCES_AT_ONCE = 8  #: of a cluster, that talk to the database at one moment


def schedule(settings: Settings, stop: Stop) -> None:
    """Run lanes until the door is asked to stop."""
    found = sources_here(settings)
    own, others = environments_of(settings.ENVIRONMENTS)
    deadline_seconds = settings.database_deadline_seconds
    database = connect(
        settings.DATABASE_URL,
        deadline_seconds=deadline_seconds,
        pool_size=(len(found) or SOURCES_AT_ONCE) * most_lanes(settings) + 3,
    )
    user = find_worker_user(settings.WORKER_USER)
    storage = Storage(settings.BASE_STORAGE_DIR, workers_group=None if user is None else user.gid)
    if not prepare(database, storage, stop):
        return
    if user is not None:
        user.check(storage.tickets)
    hinter = Hinter(database)
    hints = Hints(settings.DATABASE_URL, QUEUED, WISHED, deadline_seconds=deadline_seconds)
    stop.also_wake(hints.wake)
    engine = make_engine(settings, found, user=user, wake_main=hints.wake)
    reloads = ReloadStore(database)
    sources = SourceStore(database, lease_seconds=settings.LEASE_SECONDS)
    times = LaneTimes(
        poll_seconds=settings.POLL_SECONDS,
        grace_seconds=settings.GRACE_SECONDS,
        cancel_seconds=settings.CANCEL_SECONDS,
        load_seconds=settings.LOAD_DEADLINE_SECONDS,
    )
    kept = keep_tasks(settings.CUSTOM_TASKS_DIR, [source.name for source in found], storage, own)
    lanes = LaneMaker(database, hinter.send, sources, storage, engine, settings.ATTEMPTS, times, reloads)
    Scheduler(
        sources,
        lanes.make,
        engine,
        hints,
        reloads=reloads,
        kept=kept,
        poll_seconds=settings.POLL_SECONDS,
        lanes=settings.lanes,
        environments=others,
    ).run(stop)
    for each in (engine, hinter):
        each.close()


def main() -> int:
    """Open the door; return its exit status."""
    Stop.on_hangup(lambda: None)  # until there are lanes: the tasks are read after that, as they are then
    settings = read_settings()
    return open_door("TaskScheduling", settings.LOG_FORMAT, settings.LOG_LEVEL, lambda stop: schedule(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
