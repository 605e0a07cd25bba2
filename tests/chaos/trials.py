"""The trials that are no cell: random kills under load, full disks, clocks that are wrong, tasks that behave badly."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

from tests.chaos.disks import fill, make_room
from tests.chaos.moments import MANAGER, SCHEDULER, WEB, WORKER
from tests.chaos.Stage import LEASE_SECONDS, Stage
from tests.service import DOORS

CLIENTS = 6
HOUR = 3600
LONGEST_PAUSE_SECONDS = 2.0
BAD = ("raises", "refuses", "segfault", "kill", "exit")  #: ways in which a task behaves badly
WORKERS_SECONDS = 180.0  #: in which a worker that dies again and again is replaced as often, on a busy machine
SLOW = 200  #: connections that send a header, and never its end
STEPS = {"+1 h": HOUR, "+3 days": 3 * 24 * HOUR, "-1 h": -HOUR}  #: of the database's clock
#: Functions of this schema are found before PostgreSQL's own of the same names.
STEPPED_CLOCK = """
    CREATE SCHEMA stepped;
    CREATE TABLE stepped.step (seconds double precision NOT NULL);
    INSERT INTO stepped.step VALUES (0);
    CREATE FUNCTION stepped.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
        'SELECT pg_catalog.clock_timestamp() + make_interval(secs => seconds) FROM stepped.step';
    GRANT USAGE ON SCHEMA stepped TO PUBLIC; GRANT SELECT ON stepped.step TO PUBLIC;
"""


def kill_at_random(stage: Stage, kills: int, seed: int) -> dict[str, int]:
    """Kill a random process again and again while clients come and go; return how often each kind was killed."""
    chosen = random.Random(seed)
    killed = dict.fromkeys((*DOORS, WORKER, "PostgreSQL"), 0)
    for _ in range(kills):
        stage.clients = [client for client in stage.clients if client.is_alive()]
        stage.send(CLIENTS - len(stage.clients), delete=chosen.random() < 0.3, patience_seconds=600.0)
        time.sleep(chosen.uniform(0, LONGEST_PAUSE_SECONDS))  # so that a worker can be ready between two kills
        victim = chosen.choices(list(killed), weights=[6, 6, 4, 5, 1])[0]
        killed[victim] += 1
        if victim == "PostgreSQL":
            stage.kill_postgres()
        elif victim == WORKER:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stage.worker_pid(), signal.SIGKILL)
        else:
            stage.kill(victim)
        stage.heal()
    stage.settle()
    return killed


def outlast_an_outage(stage: Stage) -> list[tuple[int, int]]:
    """Keep PostgreSQL away for two leases while a ticket runs; return claims and attempts of all tickets since."""
    first = stage.rows("SELECT coalesce(max(id), 0) AS id FROM tickets")[0].id
    stage.control.arm("mid-run")
    stage.send(3)
    stage.wait_reached("mid-run")
    stage.stop_postgres()
    time.sleep(2 * LEASE_SECONDS)
    stage.postgres.start()
    time.sleep(0.5)
    stage.control.release("mid-run")
    stage.settle()
    return [tuple(row) for row in stage.rows("SELECT claim, attempts FROM tickets WHERE id > :first", first=first)]


def behave_badly(stage: Stage) -> dict[str, str]:
    """Let tasks misbehave, each beside a good neighbour; return in which state which nonce has to end."""
    expected: dict[str, str] = {}
    for how in BAD:
        (bad,) = stage.send(how=how, patience_seconds=WORKERS_SECONDS)
        expected[bad.nonce] = "failed"
        stage.send(patience_seconds=WORKERS_SECONDS)
    for service in ("ChaosHangs", "ChaosPoisons"):
        (bad,) = stage.send(service=service, patience_seconds=WORKERS_SECONDS)
        expected[bad.nonce] = "failed"
        stage.send(patience_seconds=WORKERS_SECONDS)
    stage.settle()
    return expected


def fill_the_database(stage: Stage, patience_seconds: float = 60.0) -> int:
    """Fill PostgreSQL's disk under load until a request is answered 503, then make room; return how many were."""
    disk = stage.postgres.data.parent
    fill(disk)
    refused = 0
    give_up = time.monotonic() + patience_seconds
    while refused < CLIENTS and time.monotonic() < give_up:
        stage.clients = [client for client in stage.clients if client.is_alive()]
        stage.send(CLIENTS - len(stage.clients), patience_seconds=120.0)
        with contextlib.suppress(requests.RequestException):
            refused += stage.post("Chaos", b"no archive").status_code == requests.codes.service_unavailable
        refused += sum(client.refused for client in stage.clients)
        time.sleep(0.1)
    make_room(disk)
    stage.heal()
    stage.settle()
    return refused


def shift_clocks(stage: Stage, library: Path) -> None:
    """Run a load with each door's clock off by another hour, then kill the scheduler in the midst of it."""
    for door, seconds in ((WEB, HOUR), (MANAGER, -HOUR), (SCHEDULER, HOUR)):
        stage.kill(door)
        stage.start(door, clock_seconds=seconds, clock_library=library)
    stage.wait_until_ready("Chaos")
    stage.send(CLIENTS)
    stage.settle()
    stage.control.arm("mid-run")
    stage.send(CLIENTS)
    stage.wait_reached("mid-run")
    stage.kill(SCHEDULER)
    stage.control.release("mid-run")
    stage.start(SCHEDULER, clock_seconds=-HOUR, clock_library=library)
    stage.settle()
    for door in DOORS:
        stage.kill(door)
    stage.heal()


def step_the_database_clock(stage: Stage) -> dict[str, int]:
    """Set PostgreSQL's clock by an hour, by days and back while tickets run; count what must not come of it."""
    stage.rows(STEPPED_CLOCK)
    name = stage.rows("SELECT current_database() AS name")[0].name
    stage.rows(f'ALTER DATABASE "{name}" SET search_path = stepped, pg_catalog, public')
    for door in DOORS:
        stage.kill(door)
    stage.heal()
    stage.wait_until_ready("Chaos")
    first = stage.rows("SELECT coalesce(max(id), 0) AS id FROM tickets")[0].id
    stage.send(CLIENTS)
    stage.settle()
    for seconds in STEPS.values():
        stage.control.arm("mid-run")
        stage.send(CLIENTS)
        stage.wait_reached("mid-run")
        stage.rows("UPDATE stepped.step SET seconds = seconds + :seconds", seconds=seconds)
        time.sleep(3 * LEASE_SECONDS)
        stage.control.release("mid-run")
        stage.settle()
    return dict(
        stage.rows(
            """SELECT count(*) FILTER (WHERE claim > 1) AS "started again", count(*) FILTER (WHERE attempts > 0) AS
                 attempts, count(*) FILTER (WHERE state IN ('failed', 'expired')) AS "failed or expired"
               FROM tickets WHERE id > :first""",
            first=first,
        )[0]._mapping
    )


def outlast_slow_clients(stage: Stage) -> int:
    """Let one address hold connections open while clients of another come and go; return how many it kept."""
    slow = [socket.create_connection(("127.0.0.1", stage.port), 10, ("127.0.0.2", 0)) for _ in range(SLOW)]
    for connection in slow:
        with contextlib.suppress(OSError):
            connection.sendall(b"POST /request HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    stage.send(CLIENTS)
    stage.settle()
    kept = 0
    for connection in slow:
        connection.setblocking(False)
        with connection, contextlib.suppress(OSError):
            try:
                kept += connection.recv(1) != b""
            except BlockingIOError:
                kept += 1
    return kept


def build_clock(folder: Path) -> Path:
    """Compile the library that puts a process's clock off."""
    library = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library
