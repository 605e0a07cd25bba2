"""This service and its peers, each started and ended alike: a front, a queue, one worker."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.instances import instances
from benchmarks.peers.work import RESULT
from tests.service import REPOSITORY, Service, free_port
from tomaat.postgres.private_postgres import PrivatePostgres
from tomaat.processes.dying import STAY, command_that_dies_with

ENVIRONMENTS = REPOSITORY / ".cache/peers"  #: `make benchmark-peers` makes them
REDIS = shutil.which("redis-server") or "/usr/bin/redis-server"
START_SECONDS, END_SECONDS, DRAIN_SECONDS = 60.0, 20.0, 600.0
FLOAT = "CustomTasks/FloatComputationTask.py"
TASKS = (FLOAT, "CustomTasks/GaussianSmoothingTask.py", "benchmarks/peers/tasks.py")
SERVICES = ("FloatComputation", "GaussianSmoothing", "Mark", "Warm")
SCHEDULER = "TaskScheduling.py"


class Stack(Protocol):
    """All programs that one ticket goes through."""

    name: str
    url: str

    def roots(self) -> list[int]:
        """List the processes that the others come from."""

    def start_worker(self) -> None:
        """Begin to work on what waits."""

    def stop_worker(self) -> None:
        """Let tickets wait."""

    def drained(self, tickets: int) -> float:
        """Wait until the latest tickets have ended; return the seconds between the first and the last."""


class ThisService:
    """The doors around a database, with one CPU source."""

    name = "this service"

    def __init__(self, instance: Service, postgres: int) -> None:
        self.instance = instance
        self.postgres = postgres
        self.url = instance.url

    def roots(self) -> list[int]:
        """List the doors and PostgreSQL."""
        return [self.postgres, *(door.pid for door in self.instance.doors.values())]

    def start_worker(self) -> None:
        """Start the door that performs."""
        self.instance.start(SCHEDULER)

    def stop_worker(self) -> None:
        """Stop the door that performs."""
        self.instance.terminate(SCHEDULER, 60)

    def drained(self, tickets: int) -> float:
        """Ask the rows of the tickets."""
        left = "SELECT count(*) AS n FROM tickets WHERE state IN ('submitted', 'queued', 'running')"
        give_up = time.monotonic() + DRAIN_SECONDS
        while self.instance.rows(left)[0].n:
            if time.monotonic() > give_up:
                raise RuntimeError(f"{self.name}: tickets did not end within {DRAIN_SECONDS:.0f} s")
            time.sleep(0.5)  # as for the others: to ask costs a connection
        row = self.instance.rows(
            "SELECT extract(epoch FROM max(finished) - min(finished)) AS s FROM "
            "(SELECT finished FROM tickets WHERE state = 'succeeded' ORDER BY id DESC LIMIT :tickets) AS latest",
            tickets=tickets,
        )[0]
        return float(row.s)


class Peer:
    """Flask and one worker around a queue that somebody else made."""

    def __init__(self, name: str, folder: Path, queue: tuple[str, int], worker: list[str]) -> None:
        self.name = name
        self.program = name.partition(" ")[0].lower()
        self.python = ENVIRONMENTS / self.program / "bin/python"
        self.folder = folder / self.program
        self.folder.mkdir()
        url, self.queue = queue
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = os.environ | {"PEER_QUEUE": url, "PEER_FOLDER": str(self.folder), "PEER_PORT": str(port)}
        self.worker = worker
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the front, and the worker."""
        self._start("front", ["-m", f"benchmarks.peers.{self.program}_app"])
        wait_for_port(int(self.environment["PEER_PORT"]))
        self.start_worker()

    def _start(self, part: str, words: list[str]) -> None:
        self.running[part] = start([str(self.python), *words], self.folder / f"{part}.log", self.environment)

    def roots(self) -> list[int]:
        """List the front, the worker, the queue."""
        return [self.queue, *(process.pid for process in self.running.values())]

    def start_worker(self) -> None:
        """Start a worker that performs one ticket at a time."""
        self._start("worker", ["-m", self.program, *self.worker])

    def stop_worker(self) -> None:
        """End the worker."""
        end(self.running.pop("worker"))

    def stop(self) -> None:
        """End all but the queue."""
        while self.running:
            end(self.running.popitem()[1])

    def drained(self, tickets: int) -> float:
        """Look at the results' files."""
        give_up = time.monotonic() + DRAIN_SECONDS
        results = [place / RESULT for place in self.folder.iterdir() if place.is_dir()]
        while not all(result.exists() for result in results):
            if time.monotonic() > give_up:
                raise RuntimeError(f"{self.name}: tickets did not end within {DRAIN_SECONDS:.0f} s")
            time.sleep(0.5)
        ended = sorted(result.stat().st_mtime for result in results)[-tickets:]
        return ended[-1] - ended[0]


def start(command: list[str], log: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program that ends with this one, out of reach of the terminal's Ctrl-C."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command_that_dies_with(os.getpid(), signal.SIGTERM, STAY, STAY, command),
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program, and by force whatever it leaves."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        for each in [*children, psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
    process.wait()


def wait_for_port(port: int) -> None:
    """Wait until somebody listens."""
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
        else:
            return


def processor_seconds(roots: Iterable[int]) -> float:
    """Add up what processes and all that came from them have used of the processor."""
    total = 0.0
    for root in roots:
        process = psutil.Process(root)
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(each.cpu_times()[:4])  # its own and that of its ended children, user and system
    return total


def own_seconds(pid: int) -> float:
    """Tell what a process alone has used of the processor."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def tasks_in(folder: Path, *paths: str) -> Path:
    """Put files of tasks into a folder, for this service."""
    (folder / "tasks").mkdir()
    for path in paths:
        shutil.copy(REPOSITORY / path, folder / "tasks")
    return folder / "tasks"


@contextlib.contextmanager
def all_stacks(*, alone: bool, web_processes: int) -> Iterator[list[Stack]]:
    """Start this service, and its peers unless it is ``alone``; end all of them."""
    if not alone:
        check_peers()
    with instances() as given, contextlib.ExitStack() as peers:
        settings = {"CUSTOM_TASKS_DIR": str(tasks_in(given.folder, *TASKS)), "WEB_PROCESSES": str(web_processes)}
        this = given.start("this", *SERVICES, **settings)
        makers = () if alone else (celery, procrastinate)
        yield [ThisService(this, pid_of(given.server)), *(peers.enter_context(make(given.folder)) for make in makers)]


def check_peers() -> None:
    """Say what to do, and exit, where a peer's programs are missing."""
    if not Path(REDIS).exists():
        raise SystemExit("redis-server is not there: install the Debian package redis-server, or say --alone.")
    for program in ("celery", "procrastinate"):
        if not (ENVIRONMENTS / program / "bin/python").exists():
            raise SystemExit(f"There is no {ENVIRONMENTS / program}: `make benchmark-peers` makes it; or say --alone.")


def pid_of(server: PrivatePostgres) -> int:
    """Tell a running server's process."""
    if server.pid is None:
        raise RuntimeError("PostgreSQL does not run")
    return server.pid


@contextlib.contextmanager
def celery(folder: Path) -> Iterator[Peer]:
    """Start Redis as Debian has it, and Celery."""
    port = free_port()
    (folder / "redis").mkdir()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder / "redis")]
    redis = start([REDIS, *words], folder / "redis.log")
    worker = ["-A", "benchmarks.peers.celery_app", "worker", "--concurrency", "1", "--loglevel", "WARNING"]
    peer = Peer("Celery + Redis", folder, (f"redis://127.0.0.1:{port}", redis.pid), worker)
    try:
        wait_for_port(port)
        peer.start()
        yield peer
    finally:
        peer.stop()
        end(redis)


@contextlib.contextmanager
def procrastinate(folder: Path) -> Iterator[Peer]:
    """Start a PostgreSQL with the defaults that this service's has, and procrastinate."""
    server = PrivatePostgres(folder / "peers-postgres")
    url = server.start().replace("+psycopg2", "")
    application = ["--app", "benchmarks.peers.procrastinate_app.app"]
    peer = Peer("procrastinate", folder, (url, pid_of(server)), [*application, "worker", "--concurrency", "1"])
    try:
        schema = [str(peer.python), "-m", "procrastinate", *application, "schema", "--apply"]
        subprocess.run(
            schema, cwd=REPOSITORY, env=peer.environment, check=True, timeout=START_SECONDS, stdout=subprocess.DEVNULL
        )
        peer.start()
        yield peer
    finally:
        peer.stop()
        server.remove()
