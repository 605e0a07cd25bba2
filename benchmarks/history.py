"""Measure the cost of a long history: ``python3 -m benchmarks.history``.

Two databases in one PostgreSQL, one with a thousand ended tickets and one with a million, and the same queue in both.
What the doors ask of them is timed in turns. The files of the latest 20,000 tickets are still kept.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from tomaat.database import Hint, connect, migrate
from tomaat.postgres.private_postgres import PrivatePostgres
from tomaat.tickets.lane_store import LaneStore
from tomaat.tickets.manager_store import ManagerStore
from tomaat.tickets.source_store import SourceStore
from tomaat.tickets.ticket_store import NewTicket, TicketStore

ROUNDS = 300
WAITING = 1000
HISTORIES = (1000, 1_000_000)
SOURCE = "here/gpu-0"


@dataclass
class Side:
    """One database with its history, and the doors' stores on it."""

    history: int
    web: TicketStore
    manager: ManagerStore
    lane: LaneStore
    database: sqlalchemy.Engine


def no_hint(_: Hint) -> None:
    """Wake nobody."""


def prepare(url: str, history: int) -> Side:
    """Make a database with ``history`` ended tickets and a queue."""
    database = connect(url, deadline_seconds=600)
    migrate(database)
    sources = SourceStore(database, lease_seconds=36_000)
    lease = sources.take(SOURCE, "benchmark")
    if lease is None:
        raise RuntimeError("the lease of a fresh database is taken")
    sources.describe(lease, device_name="GPU", memory_bytes=None, problem=None)
    sources.offer(lease, [{"service": "Add", "interface_hash": "h", "offer": {}}])
    with database.connect() as connection:
        connection.execute(
            sqlalchemy.text("""
            SET LOCAL session_replication_role = replica;  -- no ticket begins like these
            INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, claim, epoch, created,
                                 started, finished, result_sha256, result_bytes, files_removed)
            SELECT decode(md5(n::text) || md5(n::text), 'hex'), 'Add', 'h', 'old' || n,
                   CASE WHEN n % 10 = 0 THEN 'failed' WHEN n < 20000 THEN 'succeeded' ELSE 'expired' END, :source, 1,
                   1, t, t, t, md5(n::text), 1000, n >= 20000
            FROM generate_series(1, :count) n, LATERAL (SELECT clock_timestamp() - n * interval '10 s' AS t) at"""),
            {"source": SOURCE, "count": history},
        )
        connection.execute(
            sqlalchemy.text("""
            SET LOCAL session_replication_role = replica;  -- no ticket begins like these
            INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source)
            SELECT decode(md5(n::text) || md5(n::text), 'hex'), 'Add', 'h', 'new' || n, 'queued', :source
            FROM generate_series(1, :count) n"""),
            {"source": SOURCE, "count": WAITING},
        )
        connection.execute(sqlalchemy.text("VACUUM ANALYZE"))
    return Side(
        history=history,
        web=TicketStore(database, no_hint),
        manager=ManagerStore(database, no_hint, lease_seconds=36_000),
        lane=LaneStore(database, lease, no_hint),
        database=database,
    )


def claim_and_end(side: Side, seconds: dict[str, list[float]]) -> None:
    """Claim a ticket and end it, each timed."""
    began = time.perf_counter()
    ticket = side.lane.claim(["h"])
    claimed = time.perf_counter()
    if ticket is None:
        raise RuntimeError("the queue is empty")
    side.lane.succeed(ticket, sha256="0" * 64, size_bytes=1, seconds=1.0)
    seconds.setdefault("claim", []).append(claimed - began)
    seconds.setdefault("complete", []).append(time.perf_counter() - claimed)


def submit(side: Side, number: int) -> None:
    """Submit a ticket and queue it at once, so that the queue stays as long as it is."""
    new = NewTicket(token_hash=bytes(32), service="Add", interface_hash="h", folder=f"later{number}")
    ticket = side.web.submit(new)
    with side.database.connect() as connection:
        connection.execute(
            sqlalchemy.text("UPDATE tickets SET state = 'queued', source = :source WHERE id = :id"),
            {"source": SOURCE, "id": ticket.id},
        )


def ask(side: Side, number: int) -> dict[str, list[float]]:
    """Time once whatever the doors ask of the database in a ticket's life and in a round of the manager."""
    seconds: dict[str, list[float]] = {}
    claim_and_end(side, seconds)
    ticket = side.web.find(side.history + WAITING // 2)
    if ticket is None:
        raise RuntimeError("a ticket is missing")
    asked: dict[str, Callable[[], object]] = {
        "submit": lambda: submit(side, number),
        "look for tickets without estimates": lambda: side.lane.without_estimate(["Add"]),
        "find": lambda: side.web.find(ticket.id),
        "read the lines": side.web.lines,
        "count the waiting": side.web.count_waiting,
        "read the queues": side.manager.queues,
        "take back": lambda: side.manager.take_back(settled=True, attempts=3),
        "leave lost queues": lambda: side.manager.unqueue_stranded(settled=True),
        "fail what waited": lambda: side.manager.fail_waited(hours=24),
        "expire": lambda: side.manager.expire(retention_hours=72, fetched_grace_seconds=None),
        "find what to remove": lambda: side.manager.removable(retention_hours=72, keep_input=False),
        "prune": lambda: side.manager.prune(days=365),
    }
    for name, act in asked.items():
        began = time.perf_counter()
        act()
        seconds.setdefault(name, []).append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Prepare both, time them in turns, print the medians and their ratios."""
    with tempfile.TemporaryDirectory(prefix="tomaat-history-") as folder:
        server = PrivatePostgres(Path(folder) / "postgres")
        url = sqlalchemy.make_url(server.start())
        sides = []
        try:
            admin = connect(url.render_as_string(hide_password=False), deadline_seconds=60)
            for history in HISTORIES:
                with admin.connect() as connection:
                    connection.execute(sqlalchemy.text(f"CREATE DATABASE history_{history}"))
                own = url.set(database=f"history_{history}").render_as_string(hide_password=False)
                sides.append(prepare(own, history))
            admin.dispose()
            times: list[dict[str, list[float]]] = [{} for _ in sides]
            for number in range(ROUNDS):
                for side, gathered in zip(sides, times, strict=True):
                    for name, values in ask(side, number).items():
                        gathered.setdefault(name, []).extend(values)
        finally:
            for side in sides:
                side.database.dispose()
            server.remove()
    print(f"| asked, {ROUNDS} times each in turns | 10^3 ended tickets | 10^6 | ratio of medians |")
    print("| --- | --- | --- | --- |")
    for name in times[0]:
        short, long = (1000 * statistics.median(gathered[name]) for gathered in times)
        print(f"| {name} | {short:.2f} ms | {long:.2f} ms | {long / short:.2f} |")


if __name__ == "__main__":
    main()
