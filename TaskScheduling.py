"""Runs the queued tickets: for each compute source of this host its lanes, each with a worker.

Runs alone: ``python3 TaskScheduling.py``. It waits for the database, and for another holder of a source to end.
"""

from __future__ import annotations

import sys

from tomaat.database import QUEUED, WISHED, Hinter, Hints, connect
from tomaat.devices.device_watch import DeviceWatch
from tomaat.devices.sources import find_sources, threads_of_each
from tomaat.launch.open_door import open_door, prepare
from tomaat.processes.stop import Stop
from tomaat.scheduling.beside import MOST_LANES
from tomaat.scheduling.environment import environments_of
from tomaat.scheduling.kept_tasks import keep_tasks
from tomaat.scheduling.lane_maker import LaneMaker
from tomaat.scheduling.lane_times import LaneTimes
from tomaat.scheduling.local_engine import LocalEngine
from tomaat.scheduling.scheduler import BEATS_PER_LEASE, Scheduler
from tomaat.scheduling.worker_user import find_worker_user
from tomaat.storage import Storage
from tomaat.tickets.reload_store import ReloadStore
from tomaat.tickets.source_store import SourceStore
from TOMAATSettings import HOME, Settings, read_settings


def schedule(settings: Settings, stop: Stop) -> None:
    """Run lanes until the door is asked to stop."""
    found = find_sources(
        settings.HOST_NAME,
        wanted=settings.COMPUTE_SOURCES,
        devices=settings.COMPUTE_DEVICES,
        memory_bytes=settings.COMPUTE_MEMORY_BYTES,
    )
    own, others = environments_of(settings.ENVIRONMENTS)
    most_lanes = (settings.lanes or MOST_LANES) + len(others)
    deadline_seconds = settings.database_deadline_seconds
    database = connect(
        settings.DATABASE_URL,
        deadline_seconds=deadline_seconds,
        pool_size=len(found) * most_lanes + 3,
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
    options = [
        *("--tasks", str(settings.CUSTOM_TASKS_DIR), "--task-errors", settings.TASK_ERRORS),
        *("--threads", str(threads_of_each(found, most_lanes))),
        *("--largest-volume-bytes", str(settings.LARGEST_VOLUME_BYTES)),
        *("--log-format", settings.LOG_FORMAT, "--log-level", settings.LOG_LEVEL),
    ]
    engine = LocalEngine(options, folder=HOME, wake_main=hints.wake, user=user, keeps_spare=settings.SPARE_WORKER)
    reloads = ReloadStore(database)
    sources = SourceStore(database, lease_seconds=settings.LEASE_SECONDS)
    times = LaneTimes(
        poll_seconds=settings.POLL_SECONDS,
        grace_seconds=settings.GRACE_SECONDS,
        cancel_seconds=settings.CANCEL_SECONDS,
        load_seconds=settings.LOAD_DEADLINE_SECONDS,
    )
    watch = DeviceWatch(found, every_seconds=settings.LEASE_SECONDS / BEATS_PER_LEASE)
    kept = keep_tasks(settings.CUSTOM_TASKS_DIR, [source.name for source in found], storage, own)
    lanes = LaneMaker(database, hinter.send, sources, storage, engine, settings.ATTEMPTS, times, reloads)
    Scheduler(
        found,
        sources,
        lanes.make,
        engine,
        hints,
        watch=watch,
        reloads=reloads,
        kept=kept,
        poll_seconds=settings.POLL_SECONDS,
        lanes=settings.lanes,
        environments=others,
    ).run(stop)
    for each in (watch, hinter):
        each.close()


def main() -> int:
    """Open the door; return its exit status."""
    Stop.on_hangup(lambda: None)  # until there are lanes: the tasks are read after that, as they are then
    settings = read_settings()
    return open_door("TaskScheduling", settings.LOG_FORMAT, settings.LOG_LEVEL, lambda stop: schedule(settings, stop))


if __name__ == "__main__":
    sys.exit(main())
