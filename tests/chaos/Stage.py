"""One whole instance for a trial: PostgreSQL behind a proxy, the three doors with moments to hold, and journals."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import sqlalchemy

from tests.chaos.Client import RoundTrip
from tests.chaos.Control import Control
from tests.chaos.moments import SCHEDULER, WORKER
from tests.chaos.Proxy import Proxy
from tests.service import DOORS, REPOSITORY, Service
from tomaat.postgres.private_postgres import PORT, PrivatePostgres
from tomaat.processes.proc import start_time

LEASE_SECONDS = 2.0
REACH_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
TASK = Path(__file__).with_name("ChaosTask.py")
TRANSITIONS = """
    CREATE TABLE transitions (
        n bigint GENERATED ALWAYS AS IDENTITY, at double precision, ticket bigint, before text, after text,
        claim integer, attempts integer);
    CREATE FUNCTION note_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO transitions (at, ticket, before, after, claim, attempts) VALUES (
            extract(epoch FROM clock_timestamp()), NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state,
            NEW.claim, NEW.attempts);
        RETURN NEW;
    END $$;
    CREATE TRIGGER note_insert AFTER INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION note_transition();
    CREATE TRIGGER note_update AFTER UPDATE ON tickets FOR EACH ROW
        WHEN (OLD.state IS DISTINCT FROM NEW.state OR OLD.claim IS DISTINCT FROM NEW.claim)
        EXECUTE FUNCTION note_transition();
"""  #: the transition log, which the checker reads


class Stage(Service):
    """Its storage and its database may lie on small disks that a trial fills."""

    def __init__(
        self, folder: Path, *, storage: Path | None = None, database_disk: Path | None = None, **settings: str
    ) -> None:
        self.postgres = PrivatePostgres(folder / "postgres")
        if database_disk is not None:
            (folder / "postgres").mkdir()
            (folder / "postgres" / "data").symlink_to(database_disk / "data")
        self.postgres.start()
        self.proxy = Proxy(f"{self.postgres.socket}/.s.PGSQL.{PORT}")
        (folder / "control").mkdir()
        (folder / "tasks").mkdir()
        shutil.copy(TASK, folder / "tasks" / TASK.name)
        super().__init__(
            folder,
            self.postgres.url,
            DATABASE_URL=sqlalchemy.make_url(self.postgres.url)
            .set(host="127.0.0.1", port=self.proxy.port, query={})
            .render_as_string(hide_password=False),
            CUSTOM_TASKS_DIR=str(folder / "tasks"),
            LEASE_SECONDS=str(LEASE_SECONDS),
            ATTEMPTS=settings.pop("ATTEMPTS", "1000"),
            CANCEL_SECONDS="0.5",
            BASE_STORAGE_DIR=str(storage or folder / "storage"),
            **settings,
        )
        self.storage = storage or folder / "storage"
        self.control = Control(folder / "control")
        self.clients: list[RoundTrip] = []
        self.others: list[subprocess.Popen[bytes]] = []  #: second managers and schedulers, and first ones given up

    def open(self) -> None:
        """Start the doors and wait until the task is offered."""
        self.start()
        self.wait_until_ready("Chaos", "ChaosHangs", "ChaosPoisons")
        database = sqlalchemy.create_engine(self.database_url, isolation_level="AUTOCOMMIT")
        with database.connect() as connection:
            connection.execute(sqlalchemy.text(TRANSITIONS))
        database.dispose()

    def start(self, *doors: str, clock_seconds: int = 0, clock_library: Path | None = None) -> None:
        """Start doors whose moments can be held."""
        environment = dict(self.environment)
        if clock_library is not None:
            environment |= {"LD_PRELOAD": str(clock_library), "TRIAL_CLOCK_SECONDS": str(clock_seconds)}
        for door in doors or DOORS:
            with self.log_of(door).open("ab") as log:
                self.doors[door] = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.held", str(self.control.folder), door],
                    cwd=REPOSITORY,
                    env=environment,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

    def heal(self) -> None:
        """Bring back whatever does not run, and wait until a ticket can be run again."""
        self.proxy.speak()
        if not self.postgres.alive():
            self.postgres.stop()
            self.postgres.start()
        for other in self.others:
            if other.poll() is None:
                other.kill()
            other.wait()
        self.others.clear()
        for door in DOORS:
            if self.doors[door].poll() is not None:
                self.start(door)

    def process_of(self, where: str) -> int:
        """Tell the id of the process of a door, or of the worker."""
        return self.worker_pid() if where == WORKER else self.doors[where].pid

    @property
    def lanes(self) -> int:
        """The lanes of the source.

        Each patience is for one lane: where a fault ends all workers, they start one after the other, each for seconds.
        """
        return int(self.environment.get("TOMAAT_LANES", "1"))

    def until(self, true: Callable[[], bool], seconds: float = REACH_SECONDS) -> None:
        """Wait until something is true; fail after ``seconds`` for each lane."""
        super().until(true, seconds * self.lanes)

    def wait_reached(self, moment: str) -> None:
        """Wait until a process is held at the moment."""
        self.control.wait_reached(moment, REACH_SECONDS * self.lanes)

    def worker_pid(self, source: str = "test/cpu-0", lane: int | None = None) -> int:
        """Tell the id of a lane's worker, by default of the lane that has claimed a ticket last."""
        latest = "SELECT lane FROM tickets WHERE started IS NOT NULL ORDER BY started DESC LIMIT 1"
        return super().worker_pid(source, lane or next((row.lane for row in self.rows(latest)), 1))

    def has_its_worker(self) -> bool:
        """Tell whether the present scheduler's own workers run."""
        rows = self.rows("SELECT pid FROM workers WHERE lane <= (SELECT max(lanes) FROM compute_sources)")
        own = children_of(self.doors[SCHEDULER].pid)
        return bool(rows) and all(start_time(row.pid) is not None and row.pid in own for row in rows)

    def send(self, count: int = 1, *, patience_seconds: float = PATIENCE_SECONDS, **options: Any) -> list[RoundTrip]:
        """Let clients begin their round trips, which have ``patience_seconds`` for each lane."""
        patience_seconds *= self.lanes
        clients = [
            RoundTrip(self.url, self.control, patience_seconds=patience_seconds, **options) for _ in range(count)
        ]
        for client in clients:
            client.start()
        self.clients += clients
        return clients

    def settle(self) -> None:
        """Wait until all clients have come to an end."""
        for client in self.clients:
            client.join(client.patience_seconds + 30)
        self.clients.clear()

    def answers(self) -> bool:
        """Tell whether the web service answers with what only the database knows: that this is no ticket."""
        try:
            return requests.get(f"{self.url}/status/1&none", timeout=5).status_code == requests.codes.not_found
        except requests.RequestException:
            return False

    def kill_postgres(self) -> None:
        """SIGKILL to PostgreSQL's server and to each process that it started."""
        server = self.postgres.pid
        if server is None:
            return
        family = [server, *children_of(server)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.postgres.stop()

    def stop_postgres(self) -> None:
        """Stop PostgreSQL at once, as `pg_ctl stop -m immediate` does."""
        if self.postgres.pid is not None:
            os.kill(self.postgres.pid, signal.SIGQUIT)
        self.postgres.stop()

    def close(self) -> None:
        """End all."""
        self.heal()
        super().stop()
        self.proxy.close()
        self.postgres.remove()


def children_of(parent: int) -> list[int]:
    """List the processes that a process started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # it may end meanwhile
            fields = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(process.name))
    return found


def seconds_until(true: Callable[[], bool], longest: float) -> float:
    """Measure how long something takes to become true."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > longest:
            return float("inf")
        time.sleep(0.01)
    return time.monotonic() - began


def is_dead(pid: int, started: int | None) -> bool:
    """Tell whether that very process is gone."""
    return start_time(pid) != started
