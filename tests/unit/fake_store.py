"""A stand-in for the database, for tests of the web side alone: the store's answers from a dictionary."""

import dataclasses
import hashlib
import io
import itertools
import json
import tarfile
import threading
from datetime import datetime, timedelta, timezone
from queue import Empty, SimpleQueue

import requests
from flask import Flask

from Inputs import FloatInput, SingleChoiceInput, VolumeInput
from tomaat.access.key_store import ApiKey, Usage
from tomaat.archives import ArchiveLimits
from tomaat.database import ENDED as ENDED_HINT
from tomaat.database import MOVED, DatabaseUnavailable, Hint
from tomaat.storage import Storage
from tomaat.tickets.lines import Line, Lines
from tomaat.tickets.operator_store import Hour, LatestReading, Overview, SeenTicket, Source
from tomaat.tickets.priorities import USUAL
from tomaat.tickets.states import CANCELLED, ENDED, FAILED, RUNNING, SUBMITTED, SUCCEEDED, UNENDED, WAITING
from tomaat.tickets.ticket import Ticket
from tomaat.tickets.ticket_store import AgainRules, OfferedService, ShortestQueue
from tomaat.tickets.watch_store import World
from tomaat.web.api.api import Api
from tomaat.web.api.examples import Examples
from tomaat.web.api.waiters import Waiters
from tomaat.web.http.access import Access
from tomaat.web.http.addresses import Proxies
from tomaat.web.http.app import create_app
from tomaat.web.http.gate import Gate
from tomaat.web.operator.operator import Operator
from tomaat.web.page.documents import Page
from tomaat.web.watch.health import Health
from tomaat.web.watch.metrics import Metrics

MIB = 1024**2
ADD = [
    FloatInput("f1", "First number"),
    FloatInput("f2", "Second number"),
    SingleChoiceInput("op", "Operation", choices=["add", "multiply"], default="add"),
]
SMOOTH = [VolumeInput("scan", "Scan"), FloatInput("sigma", "Width", minimum=0.1, maximum=10, unit="mm")]
LINE = Line(
    source="here/gpu-0",
    held=True,
    usable=True,
    drained=False,
    offers={"FloatComputation-1": True},
    means={},
    running={1: 4.0},
    orders=[1, 2, 3],
    begins=[4.0, 6.0, 9.0, 12.3456],
    ends=[6.0, 9.0, 12.3456],
)
DRAINED = dataclasses.replace(LINE, source="here/gpu-1", drained=True, offers={"GaussianSmoothing-1": True})
LIMITS = ArchiveLimits(largest_upload_bytes=8 * MIB, largest_unpacked_bytes=256 * MIB, largest_ratio=200)


def offered(name, inputs, *, available=True):
    return OfferedService(
        name=name,
        description=f"The service {name}.",
        version="1",
        available=available,
        interface={declared.id: declared.describe() for declared in inputs},
        interface_hash=f"{name}-1",
        memory_bytes={"here/GPU-aaa": 5 * 1024 * MIB},
        example={"f1": 2.5} if name == "FloatComputation" else {},
    )


def packed(**members):
    """Pack a payload; `main=` is the inputs of main.json, other names become `file-<name>` with _ for dots."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            data = json.dumps({"inputs": content}).encode() if name == "main" else content
            info = tarfile.TarInfo("main.json" if name == "main" else "file-" + name.replace("_", "."))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


GOOD = packed(main={"f1": 1, "f2": 2})


class FakeHints:
    """Hints without a database: `wake` wakes, `send` tells."""

    def __init__(self):
        self.wakes = SimpleQueue()
        self.listening = True

    def wait(self, seconds):
        try:
            heard = self.wakes.get(timeout=seconds)
        except Empty:
            return set()
        return heard

    def wake(self):
        self.wakes.put(set())

    def send(self, about="", channel=ENDED_HINT):
        self.wakes.put({Hint(channel, about)})


class FakeStore:
    """Tickets in a dictionary; `down` makes every call fail as an unreachable PostgreSQL does."""

    def __init__(self, hints=None):
        self.hints = hints or FakeHints()
        self.tickets = {}
        self.repeatable = {}
        self.numbers = itertools.count(1)
        self.fetched = []
        self.marks = 0  #: tries to write down what was fetched
        self.read = []  #: tickets whose reading a look has noted
        self.down = False
        self.loading = False
        self.waiting = 0
        self.finds = 0
        self.asked = []  #: the tickets of each reading for waiters
        self.readings = 0  #: of the lines
        self.line = LINE  #: the one where tickets queue
        self.acts = []
        self.going = set()  #: tickets whose files are being deleted: what can_run_again does not see yet
        self.services = [offered("FloatComputation", ADD), offered("GaussianSmoothing", SMOOTH, available=False)]

    def _demand(self):
        if self.down:
            raise DatabaseUnavailable("the secret address of the database")

    def submit(self, submission):
        self._demand()
        name = (submission.key_name, submission.idempotency_key)
        if submission.idempotency_key is not None and name in self.repeatable:
            return self.tickets[self.repeatable[name]]
        ticket = Ticket(
            id=next(self.numbers),
            token_hash=submission.token_hash,
            service=submission.service,
            interface_hash=submission.interface_hash,
            folder=submission.folder,
            key_name=submission.key_name,
            payload_sha256=submission.payload_sha256,
            label=submission.label,
            priority=submission.priority,
            later_token_hashes=(),
            state=SUBMITTED,
            source=None,
            claim=0,
            epoch=None,
            attempts=0,
            expected_seconds=None,
            cancel_requested=False,
            delete_requested=False,
            progress=None,
            stage=None,
            created=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc),
            started=None,
            finished=None,
            error=None,
            result_sha256=None,
            result_bytes=None,
            files_removed=False,
            queue_order=3,
            outgrown_bytes=None,
        )
        self.tickets[ticket.id] = ticket
        self.repeatable[name] = ticket.id
        return ticket

    def add_token(self, ticket, token_hash):
        self.change(ticket.id, later_token_hashes=(*ticket.later_token_hashes, token_hash))

    def find(self, ticket_id):
        self._demand()
        self.finds += 1
        return self.tickets.get(ticket_id)

    def find_all(self, ticket_ids, *, reading=()):
        self._demand()
        self.asked.append(set(ticket_ids))
        self.read += [id for id in reading if id in self.tickets and self.tickets[id].has_result]
        return {id: self.tickets[id] for id in ticket_ids if id in self.tickets}

    def lines(self):
        self._demand()
        self.readings += 1
        return Lines(manager_held=True, lines={line.source: line for line in (self.line, DRAINED)})

    def cancel(self, ticket, *, operator=None):
        self._demand()
        now = self.tickets[ticket.id]
        if operator is not None:
            self.acts.append((operator, "cancel", ticket.id))
            if now.state in ENDED:
                return now
        if now.state == RUNNING:
            return self.change(ticket.id, cancel_requested=True)
        if now.state in ENDED:
            return self.change(ticket.id, delete_requested=True)
        return self.change(ticket.id, state=CANCELLED, finished=now.created, delete_requested=True)

    def can_run_again(self, ticket, **_rules):
        self._demand()
        return ticket.state in ENDED and not ticket.files_removed and not ticket.delete_requested

    def run_again(self, ticket, folder, *, operator, **_rules):
        self._demand()
        if ticket.id in self.going:
            return None
        self.acts.append((operator, "run again", ticket.id))
        new = dataclasses.replace(self.tickets[ticket.id], id=next(self.numbers), folder=folder, state=SUBMITTED)
        self.tickets[new.id] = new
        return new

    def move_to_front(self, ticket, *, operator):
        self._demand()
        if self.tickets[ticket.id].state not in WAITING:
            return None
        self.acts.append((operator, "to front", ticket.id))
        return self.change(ticket.id, queue_order=-1)

    def mark_fetched(self, ticket_ids):
        self.marks += 1
        self._demand()
        self.fetched += ticket_ids

    def count_waiting(self):
        self._demand()
        return self.waiting

    def offered_services(self):
        self._demand()
        return self.services

    def ahead(self):
        self._demand()
        return {"FloatComputation-1": ShortestQueue(waiting=2, wait_seconds=12.3456)}

    def change(self, ticket_id, **values):
        """Do what another door does to a ticket."""
        self.tickets[ticket_id] = dataclasses.replace(self.tickets[ticket_id], **values)
        self.hints.send(str(ticket_id), MOVED if self.tickets[ticket_id].state in UNENDED else ENDED_HINT)
        return self.tickets[ticket_id]


class FakeWatch:
    """What is read for whoever watches: as the tests set it."""

    def __init__(self, store):
        self.store = store
        self.unended = []
        self.sources = []
        self.manager = True
        self.offering = True

    def world(self):
        self.store._demand()
        services = {service.name: service.available for service in self.store.services}
        return World(unended=self.unended, sources=self.sources, services=services, manager_held=self.manager)

    def offers_anything(self):
        return self.offering

    def manager_held(self):
        self.store._demand()
        return self.manager


class FakeKeys:
    """API keys in a dictionary, and how much each uses."""

    def __init__(self, store):
        self.store = store
        self.keys = {}
        self.asked = []
        self.used = Usage(waiting=0, within_a_minute=0)

    def make(self, name, services=None, *, operator=False, **more):
        now = datetime(2026, 1, 2, tzinfo=timezone.utc)
        self.keys[f"key-of-{name}"] = ApiKey(
            name=name, services=services, created=now, revoked=None, operator=operator, **more
        )
        return f"key-of-{name}"

    def find(self, key):
        self.asked.append((threading.current_thread().name, key))
        self.store._demand()
        return self.keys.get(key)

    def usage(self, _name, **_limits):
        return self.used


class FakeOperatorStore:
    """One source, the tickets of the fake store, and an hour."""

    def __init__(self, store):
        self.store = store
        self.drained = False
        self.asked_hours = []
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

    def drain(self, source, *, operator):
        return self._set(source, operator, drained=True)

    def resume(self, source, *, operator):
        return self._set(source, operator, drained=False)

    def _set(self, source, operator, *, drained):
        if source != "here/GPU-aaa":
            return False
        self.drained = drained
        self.store.acts.append((operator, "drain" if drained else "resume", source))
        return True

    def overview(self, *, rules):
        reading = LatestReading(used_bytes=5, total_bytes=9, use=0.5, celsius=None, read=self.now)
        source = Source(
            name="here/GPU-aaa",
            device="GPU",
            memory_bytes=9,
            problem=None,
            loading=None,
            live=True,
            takes_tickets=True,
            drained=self.drained,
            reading=reading,
            services=("FloatComputation",),
            waiting=0,
            lanes=1,
        )
        busy = tuple(ticket for ticket in self.tickets(rules=rules) if ticket.state not in ENDED)
        return Overview(now=self.now, manager_live=True, sources=(source,), unqueued=len(busy), busy=busy)

    def tickets(self, *, rules, up_to=None):
        rows = [row for row in self.store.tickets.values() if up_to is None or row.id <= up_to]
        return tuple(
            SeenTicket(
                compute_source=row.source,
                error=(row.error or {}).get("title"),
                again_of=None,
                lane=1,
                moved_to_front=row.state in WAITING and row.queue_order < 0,
                can_run_again=self.store.can_run_again(row, rules=rules),
                **{
                    name: getattr(row, name)
                    for name in SeenTicket.__dataclass_fields__
                    if name not in {"compute_source", "error", "again_of", "can_run_again", "lane", "moved_to_front"}
                },
            )
            for row in sorted(rows, key=lambda row: -row.id)[:25]
        )

    def ended(self, first, last):
        self.asked_hours.append(first)
        figures = {
            "wait_median_seconds": 1.0,
            "wait_95_seconds": 2.0,
            "run_median_seconds": None,
            "run_95_seconds": None,
        }
        return [
            (service, Hour(begins=first, succeeded=number, failed=0, cancelled=0, **figures))
            for number, service in enumerate((None, "FloatComputation"), 1)
            if last - first == timedelta(hours=1)
        ]


class FakeAudit:
    """The audit trail in a list."""

    def __init__(self):
        self.lines = []

        self.counted = []

    def note(self, *, who, what, outcome, ticket=None):
        self.lines.append((who, what, ticket, outcome))

    def count(self, *, what, outcome):
        self.counted.append((what, outcome))


class Web:
    """The application on a fake store and a real storage folder."""

    def __init__(
        self,
        folder,
        *,
        places=2,
        poll_seconds=0.05,
        longest_queue=100,
        limits=LIMITS,
        keys_needed=False,
        keep_labels=True,
        proxies=(),
        priorities=USUAL,
        most_wrong_keys=5,
    ):
        self.storage = Storage(folder)
        self.storage.prepare()
        self.store = FakeStore()
        self.waiters = Waiters(self.store, self.store.hints, places=places, poll_seconds=poll_seconds)
        self.keys = FakeKeys(self.store)
        self.audit = FakeAudit()
        access = Access(
            self.keys,
            Proxies(proxies),
            needed=keys_needed,
            most_waiting=10,
            most_within_a_minute=20,
            most_wrong_keys=most_wrong_keys,
            priorities=priorities,
        )
        self.seen = FakeOperatorStore(self.store)
        rules = AgainRules(retention_seconds=3600.0, keep_input=False)
        operator = Operator(self.seen, self.store, self.storage, access, self.audit, rules=rules)
        self.api = Api(
            self.store,
            self.storage,
            self.waiters,
            access,
            self.audit,
            examples=Examples(folder / "examples"),
            archive_limits=limits,
            largest_voxel_bytes=2**30,
            longest_wait_seconds=30,
            longest_queue=longest_queue,
            keep_labels=keep_labels,
            still_loading=lambda: self.store.loading,
        )
        self.api.services.seconds = self.api.ahead.seconds = self.api.waiting.seconds = -1  # never old in a test
        self.watch = FakeWatch(self.store)
        self.metrics = Metrics(self.watch, self.storage, self.api.access)
        self.health = Health(self.watch, self.storage)
        self.metrics.world.recent.seconds = self.health.failing.seconds = -1
        page = Page(key_needed=keys_needed, largest_request_bytes=self.api.largest_request_bytes)
        self.app: Flask = create_app(self.api, operator, self.metrics, self.health, page)
        self.gate = Gate(self.app, access, self.audit, largest_request_bytes=self.api.largest_request_bytes)
        self.client = self.app.test_client()

    def post(self, payload=GOOD, service="FloatComputation", *, headers=None, **fields):
        files = {"payload": ("payload.tar.gz", payload)}
        form = requests.Request("POST", "http://here", data={"service": service, **fields}, files=files).prepare()
        return self.client.post("/request", data=form.body, content_type=form.headers["Content-Type"], headers=headers)

    def submit(self, **changes):
        """A ticket as its client has it, in the state that a test needs."""
        ticket = self.post().get_json()
        if changes:
            self.store.change(ticket["id"], **changes)
        return ticket

    def succeed(self, ticket, content=b"a result"):
        row = self.store.change(ticket["id"], claim=1)
        path = self.storage.result_of(row.folder, row.out)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        self.store.change(
            ticket["id"],
            state=SUCCEEDED,
            result_sha256=hashlib.sha256(content).hexdigest(),
            result_bytes=len(content),
            finished=row.created,
        )

    def fail(self, ticket, **error):
        self.store.change(ticket["id"], state=FAILED, error=error)

    def uploads_left(self):
        return list(self.storage.incoming.iterdir())

    def close(self):
        self.waiters.close()
