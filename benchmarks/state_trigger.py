"""Measure the cost of the triggers that refuse unlawful moves: ``python3 -m benchmarks.state_trigger``.

Two databases in one PostgreSQL, one without the triggers. The same ticket goes through both, step by step through the
doors' stores, in turns: submitted, queued, running, succeeded. Once as it is, and once without the flush of each
commit: then the triggers' share is the largest that it can be.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy

from tomaat.database import Hint, connect, migrate
from tomaat.postgres.private_postgres import PrivatePostgres
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.manager_store import ManagerStore
from tomaat.tickets.queue import Placement
from tomaat.tickets.source_store import SourceStore
from tomaat.tickets.ticket_store import NewTicket, TicketStore

TICKETS = 1500  #: through each database, with and without the flush
WARM_UP = 100
SOURCE = "here/gpu-0"
STEPS = ("submit", "queue", "claim", "complete")


@dataclass
class Doors:
    """One database with the doors' stores on it, and how long each step of each ticket took."""

    web: TicketStore
    manager: ManagerStore
    lane: LaneStore
    seconds: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in (*STEPS, "ticket")})

    def walk(self, number: int) -> None:
        """Let a ticket go from its submission to its result."""
        times = [time.perf_counter()]
        new = NewTicket(token_hash=bytes(32), service="Add", interface_hash="h", folder=f"f{number}")
        ticket = self.web.submit(new)
        times.append(time.perf_counter())
        self.manager.assign([Placement(ticket=ticket.id, from_source=None, to_source=SOURCE)])
        times.append(time.perf_counter())
        claimed = self.lane.claim(["h"])
        times.append(time.perf_counter())
        if claimed is None or not self.lane.succeed(claimed, sha256="0" * 64, size_bytes=1, seconds=1.0):
            raise RuntimeError("the ticket did not go its way")
        times.append(time.perf_counter())
        if number >= WARM_UP:
            for step, began, ended in zip(STEPS, times, times[1:], strict=False):
                self.seconds[step].append(ended - began)
            self.seconds["ticket"].append(times[-1] - times[0])


def say_nothing(_hint: Hint) -> None:
    """Send no hint: nobody listens."""


def prepare(url: str, *, triggers: bool, flush: bool) -> Doors:
    """Make a database with or without the triggers."""
    admin = connect(url, deadline_seconds=600, pool_size=1)
    migrate(admin)
    with admin.connect() as connection:
        if not triggers:
            for name in ("tickets_begin", "tickets_move"):
                connection.execute(sqlalchemy.text(f"DROP TRIGGER {name} ON tickets"))
        own = sqlalchemy.make_url(url).database
        connection.execute(sqlalchemy.text(f"ALTER DATABASE {own} SET synchronous_commit = {flush}"))
    admin.dispose()
    database = connect(url, deadline_seconds=600, pool_size=1)
    sources = SourceStore(database, lease_seconds=36_000)
    lease = sources.take(SOURCE, "benchmark")
    if lease is None:
        raise RuntimeError("the lease of a fresh database is taken")
    sources.describe(lease, device_name="GPU", memory_bytes=None, problem=None)
    sources.offer(lease, [{"service": "Add", "interface_hash": "h", "offer": {}}])
    return Doors(
        web=TicketStore(database, say_nothing),
        manager=ManagerStore(database, say_nothing, lease_seconds=36_000),
        lane=LaneStore(database, lease, say_nothing),
    )


def compare(server: str, *, flush: bool) -> None:
    """Let tickets go through both databases in turns, and print the medians."""
    sides = []
    for triggers in (False, True):
        name = f"triggers_{triggers}_flush_{flush}".lower()
        admin = connect(server, deadline_seconds=60)
        with admin.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        admin.dispose()
        url = sqlalchemy.make_url(server).set(database=name).render_as_string(hide_password=False)
        sides.append(prepare(url, triggers=triggers, flush=flush))
    for number in range(WARM_UP + TICKETS):
        for side in random.sample(sides, len(sides)):  # in turns, neither always first
            side.walk(number)
    without, with_triggers = sides
    print(f"\n{'each commit flushed' if flush else 'no flush'}: medians of {TICKETS} tickets, in milliseconds")
    print(f"{'':10}{'without':>10}{'with':>10}{'ratio':>9}")
    for step in (*STEPS, "ticket"):
        before, after = (statistics.median(side.seconds[step]) for side in (without, with_triggers))
        print(f"{step:10}{1000 * before:10.3f}{1000 * after:10.3f}{after / before:9.3f}")


def main() -> None:
    """Compare both ways."""
    with tempfile.TemporaryDirectory() as folder:
        server = PrivatePostgres(Path(folder))
        try:
            url = server.start()
            for flush in (True, False):
                compare(url, flush=flush)
        finally:
            server.remove()
    print(f"\nload of the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
