"""A migrated database for each test, and short cuts to bring a ticket to where it needs it."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.integration.played_lane import Play
from tests.web_server import Server
from tomaat.database import Hint, connect, migrate
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.lines import Outlook
from tomaat.tickets.manager_store import ManagerStore
from tomaat.tickets.source_store import Lease, SourceStore
from tomaat.tickets.ticket import Ticket
from tomaat.tickets.ticket_store import NewTicket, TicketStore
from tomaat.tickets.watch_store import WatchStore

LEASE_SECONDS = 3600.0  #: on a slow machine, too, a lease outlasts a test; `lapse` ends one
SETTLED_SECONDS = 2.0  #: after PostgreSQL's start, until which nobody is declared dead


@pytest.fixture
def database_url(make_database: Callable[[], str]) -> str:
    """A database of its own, empty."""
    return make_database()


@pytest.fixture
def database(database_url: str) -> Iterator[sqlalchemy.Engine]:
    """A migrated database."""
    made = connect(database_url, deadline_seconds=10, pool_size=20)
    migrate(made)
    yield made
    made.dispose()


class Bench:
    """The stores of all doors on one database, and short cuts to bring a ticket to where a test needs it."""

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database
        self.hints: list[Hint] = []
        self.web = TicketStore(database, self.hints.append)
        self.manager = ManagerStore(database, self.hints.append, lease_seconds=SETTLED_SECONDS)
        self.sources = SourceStore(database, lease_seconds=LEASE_SECONDS)
        self.watch = WatchStore(database)
        self.folders = itertools.count(1)

    def run(self, sql: str, **values: object) -> list[sqlalchemy.Row]:
        with self.database.connect() as connection:
            result = connection.execute(sqlalchemy.text(sql), values)
            return list(result) if result.returns_rows else []

    def force(self, sql: str, **values: object) -> list[sqlalchemy.Row]:
        """Write rows as no door may: the triggers that refuse moves are off for these statements."""
        return self.run(f"SET LOCAL session_replication_role = replica; {sql}", **values)

    def source(
        self,
        name: str = "here/cpu-0",
        holder: str = "a",
        services: tuple[str, ...] = ("Add",),
        memory_bytes: int | None = None,
    ) -> LaneStore:
        """A live compute source that offers services whose interface hash is `<service>-1`."""
        lease = self.sources.take(name, holder)
        assert lease is not None
        self.sources.describe(lease, device_name="CPU", memory_bytes=memory_bytes, problem=None)
        self.offer(lease, *services)
        self.sources.note_loading(lease, None, 0.0)
        return LaneStore(self.database, lease, self.hints.append)

    def needs(self, lane: LaneStore, service: str, network: int, peak: int | None, seconds: float, *warm: str) -> None:
        """What a worker measures of a service, and what is warm then."""
        figures = {"network_bytes": network, "peak_bytes": peak, "load_seconds": seconds, "warm": list(warm)}
        self.sources.note_needs(lane.lease, {"service": service, **figures})

    def offer(self, lease: Lease, *services: str, version: int = 1) -> None:
        offers = [
            {
                "service": service,
                "interface_hash": f"{service}-{version}",
                "offer": {"description": "adds", "version": str(version), "interface": {"a": {"type": "float"}}},
            }
            for service in services
        ]
        self.sources.offer(lease, offers)
        self.sources.withdraw_others(lease, services)

    def submit(self, service: str = "Add") -> Ticket:
        return self.web.submit(self.new_ticket(service))

    def new_ticket(self, service: str = "Add", **more: Any) -> NewTicket:
        return NewTicket(
            token_hash=b"x" * 32,
            service=service,
            interface_hash=f"{service}-1",
            **{"folder": f"f{next(self.folders)}", **more},
        )

    def read(self, ticket: Ticket) -> Ticket:
        found = self.web.find(ticket.id)
        assert found is not None
        return found

    def outlook(self, ticket: Ticket) -> Outlook:
        return self.web.lines().outlook(self.read(ticket))

    def queue(self, ticket: Ticket, source: str) -> None:
        self.run("UPDATE tickets SET state = 'queued', source = :s WHERE id = :id", s=source, id=ticket.id)

    def claimed(self, lane: LaneStore, service: str = "Add") -> Ticket:
        self.queue(self.submit(service), lane.lease.name)
        ticket = lane.claim([f"{service}-1"])
        assert ticket is not None
        return ticket

    def lapse(self, name: str) -> None:
        self.run("UPDATE leases SET expires = clock_timestamp() - interval '1 second' WHERE name = :n", n=name)


@pytest.fixture
def bench(database: sqlalchemy.Engine) -> Bench:
    return Bench(database)


@pytest.fixture
def play(bench: Bench, tmp_path: Path) -> Iterator[Play]:
    """A lane whose worker the test plays."""
    made = Play(bench, tmp_path / "storage")
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start the web side on a store that is a stand-in; stop it in the end."""
    started: list[Server] = []

    def start(**how: Any) -> Server:
        started.append(Server(tmp_path / str(len(started)), **how))
        return started[-1]

    yield start
    for server in started:
        server.stop()
