"""The start of all three doors: secrets, logging, signals, and the wait for database and storage."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy
import structlog

from tomaat.database import migrate, wait_for_database
from tomaat.processes.log import configure_logging
from tomaat.processes.misconfigured import Misconfigured
from tomaat.processes.private import forget_database
from tomaat.processes.stop import Stop
from tomaat.storage import Storage
from tomaat.tickets.instance import bind_storage, keep_pair

log = structlog.get_logger()

MISCONFIGURED = 2  #: exit status that tells a supervisor not to try again


def open_door(
    name: str, log_format: str, log_level: str, work: Callable[[Stop], None], *, process: int | None = None
) -> int:
    """Run a door, whose settings are read, until it is asked to stop; return its exit status.

    ``process`` is the number of one of several processes of the door.
    """
    forget_database()
    configure_logging(name, log_format, log_level, process=process)
    stop = Stop()
    log.info("door.opened")
    try:
        work(stop)
    except Misconfigured as error:
        log.error("door.misconfigured", reason=str(error))
        return MISCONFIGURED
    log.info("door.closed")
    return 0


def prepare(database: sqlalchemy.Engine, storage: Storage, stop: Stop) -> bool:
    """Wait for the database, bring its schema up to date, check the storage folder; ``False``: asked to stop."""

    def bring_up(reached: sqlalchemy.Engine) -> None:
        migrate(reached)
        storage.prepare()
        bind_storage(reached, storage)

    if not wait_for_database(database, bring_up, stop.sleep):
        return False
    keep_pair(database, storage)
    return True
