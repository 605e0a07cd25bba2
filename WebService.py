"""Takes requests over HTTP, tells how they stand, and hands out their results.

Runs alone: ``python3 WebService.py``. It waits for the database. It never imports a task.
"""

from __future__ import annotations

import sys

import structlog

from tomaat.archives import ArchiveLimits
from tomaat.database import ENDED, Hinter, Hints, connect
from tomaat.door import Misconfigured, open_door, prepare
from tomaat.Stop import Stop
from tomaat.tickets import AgainRules, Audit, KeyStore, OperatorStore, Storage, TicketStore
from tomaat.web.Access import Access
from tomaat.web.Api import Api
from tomaat.web.app import create_app
from tomaat.web.Operator import Operator
from tomaat.web.serve import PortBusy, WebServer
from tomaat.web.Waiters import Waiters
from TOMAATSettings import Settings, read_settings

log = structlog.get_logger()

LOOK_SECONDS = 3600.0


def serve(settings: Settings, stop: Stop) -> None:
    """Answer requests until the door is asked to stop."""
    engine = connect(
        settings.DATABASE_URL,
        deadline_seconds=settings.database_deadline_seconds,
        pool_size=settings.WEB_THREADS // 2 + 4,
    )
    storage = Storage(settings.BASE_STORAGE_DIR)
    if not prepare(engine, storage, stop):
        return
    hinter = Hinter(engine)
    store = TicketStore(engine, hinter.send)
    keys = KeyStore(engine)
    if settings.keys_needed and not any(key.revoked is None for key in keys.all()):
        raise Misconfigured(
            f"TOMAAT_HOST={settings.HOST}, TOMAAT_API_KEYS={settings.API_KEYS}: requests need an API key, and there is "
            "none: make one with `python3 -m tomaat.keys make NAME` (beside `make serve`: make keys "
            'ARGS="make NAME"), or say TOMAAT_API_KEYS=never to let everybody in'
        )
    access = Access(
        keys,
        needed=settings.keys_needed,
        most_waiting=settings.LONGEST_QUEUE_PER_KEY,
        most_within_a_minute=settings.MOST_TICKETS_PER_MINUTE,
    )
    hints = Hints(settings.DATABASE_URL, ENDED, deadline_seconds=settings.database_deadline_seconds)
    waiters = Waiters(store, hints, places=settings.WEB_THREADS // 2, poll_seconds=settings.POLL_SECONDS)
    limits = ArchiveLimits(
        largest_upload_bytes=settings.LARGEST_UPLOAD_BYTES,
        largest_unpacked_bytes=settings.LARGEST_UNPACKED_BYTES,
        most_members=settings.MOST_MEMBERS,
        largest_ratio=settings.LARGEST_RATIO,
    )
    audit = Audit(engine)
    api = Api(
        store,
        storage,
        waiters,
        access,
        audit,
        archive_limits=limits,
        longest_wait_seconds=settings.LONGEST_WAIT_SECONDS,
        longest_queue=settings.LONGEST_QUEUE,
    )
    rules = AgainRules(
        retention_seconds=settings.RETENTION_HOURS * 3600, keep_input=settings.STORAGE_STRATEGY == "KEEP_ONLY_INPUT"
    )
    operator = Operator(OperatorStore(engine, hinter.send), store, storage, access, audit, rules=rules)
    try:
        server = WebServer(
            create_app(api, operator),
            host=settings.HOST,
            port=settings.PORT,
            threads=settings.WEB_THREADS,
            largest_request_bytes=api.largest_request_bytes,
            temporary=storage.temporary,
        )
    except PortBusy as error:
        raise Misconfigured(str(error)) from error
    server.start()
    log.info("web.listening", url=f"http://{settings.HOST}:{settings.PORT}")
    while not stop.sleep(LOOK_SECONDS):
        pass
    waiters.close()
    server.stop()
    hinter.close()


if __name__ == "__main__":
    chosen = read_settings()
    sys.exit(open_door("WebService", chosen.LOG_FORMAT, lambda stop: serve(chosen, stop)))
