"""Takes requests over HTTP, tells how they stand, and hands out their results.

Runs alone: ``python3 WebService.py``. It waits for the database. It never imports a task.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tomaat.access import Audit, KeyStore
from tomaat.database import ENDED, MOVED, Hinter, Hints, connect
from tomaat.launch.open_door import open_door, prepare
from tomaat.launch.several import WebProcess, run_several
from tomaat.processes.misconfigured import Misconfigured
from tomaat.processes.stop import Stop
from tomaat.storage import Storage
from tomaat.tickets.operator_store import OperatorStore
from tomaat.tickets.ticket_store import AgainRules, TicketStore
from tomaat.tickets.watch_store import WatchStore
from tomaat.web.api import Api, Examples, Waiters
from tomaat.web.http import Access, Gate, Proxies, WebServer, bind, create_app
from tomaat.web.operator.operator import Operator
from tomaat.web.page.documents import Page
from tomaat.web.watch import LOOK_SECONDS, Health, Metrics
from TOMAATSettings import Settings, read_settings


def serve(settings: Settings, this: WebProcess, stop: Stop) -> None:
    """Answer until the door is asked to stop. Raises ``Misconfigured`` where a key is needed and there is none."""
    deadline = settings.database_deadline_seconds
    database = connect(settings.DATABASE_URL, deadline_seconds=deadline, pool_size=settings.web_connections)
    storage = Storage(settings.BASE_STORAGE_DIR)
    if not prepare(database, storage, stop):
        return
    hinter = Hinter(database)
    store = TicketStore(database, hinter.send)
    keys = KeyStore(database)
    if settings.keys_needed and not any(key.revoked is None for key in keys.all()):
        raise Misconfigured(settings.key_missing)
    access = Access(
        *(keys, Proxies(settings.TRUSTED_PROXIES)),
        needed=settings.keys_needed,
        most_waiting=settings.LONGEST_QUEUE_PER_KEY,
        most_within_a_minute=settings.MOST_TICKETS_PER_MINUTE,
        most_wrong_keys=settings.share_of(settings.MOST_WRONG_KEYS_PER_MINUTE),
        priorities=settings.PRIORITIES_WITHOUT_KEY,
    )
    hints = Hints(settings.DATABASE_URL, MOVED, ENDED, deadline_seconds=deadline)
    waiters = Waiters(store, hints, places=settings.WEB_THREADS // 2, poll_seconds=settings.POLL_SECONDS)
    audit = Audit(database)
    watch = WatchStore(database)
    api = Api(
        *(store, storage, waiters, access, audit),
        examples=Examples(settings.CUSTOM_TASKS_DIR / "examples"),
        archive_limits=settings.archive_limits,
        largest_voxel_bytes=settings.LARGEST_VOLUME_BYTES,
        longest_wait_seconds=settings.LONGEST_WAIT_SECONDS,
        longest_queue=settings.LONGEST_QUEUE,
        keep_labels=settings.LABELS,
        still_loading=lambda: bool(watch.loading()),
    )
    rules = AgainRules(**settings.again_rules)
    operator = Operator(OperatorStore(database, hinter.send), store, storage, access, audit, rules=rules)
    metrics = Metrics(watch, storage, access, process=this.number)
    metrics.look()
    page = Page(key_needed=settings.keys_needed, largest_request_bytes=api.largest_request_bytes)
    app = create_app(api, operator, metrics, Health(watch, storage), page)
    server = WebServer(
        Gate(app, access, audit, largest_request_bytes=api.largest_request_bytes),
        sockets=this.sockets or bind(settings.HOST, settings.PORT),
        threads=settings.WEB_THREADS,
        most_connections_of_one_address=settings.MOST_CONNECTIONS_PER_ADDRESS,
        largest_spools_bytes=settings.share_of(settings.LARGEST_SPOOLS_BYTES),
        temporary=storage.temporary,
        note_refused=metrics.note_refused,
    )
    server.start()
    stop.repeat(LOOK_SECONDS, metrics.look, audit.write_counts)
    waiters.close()
    server.stop()
    audit.write_counts(at_once=True)
    hinter.close()


def main() -> int:
    """Open the door, alone or as one of several processes; return its exit status."""
    settings, this = read_settings(), WebProcess.told()

    def work(stop: Stop) -> None:
        if this.number is None and settings.WEB_PROCESSES > 1:
            run_several(Path(__file__), settings, bind(settings.HOST, settings.PORT), stop)
        else:
            serve(settings, this, stop)

    return open_door("WebService", settings.LOG_FORMAT, settings.LOG_LEVEL, work, process=this.number)


if __name__ == "__main__":
    sys.exit(main())
