"""Web servers in front of one small application, compared: ``python3 -m benchmarks.web_servers [NAME…]``.

The project's own server is always measured; another one where its package is installed, else it is skipped by name.
Each gets 32 threads. Every load is bounded in count and in time, and goes over loopback only. The findings are in
``docs/decisions/0017-the-web-server.md``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[1]

APPLICATION = "benchmarks.web_servers:application"
SERVERS = {  #: name → packages
    "ours": ["waitress"],
    "waitress": ["waitress"],
    "gunicorn": ["gunicorn"],
    "cheroot": ["cheroot"],
    "gevent": ["gevent"],
    "uvicorn": ["uvicorn", "a2wsgi"],
    "hypercorn": ["hypercorn"],
    "granian": ["granian"],
}
MB = 1_000_000
THREADS = 32
CHUNK_BYTES = 128 * 1024
FILE_BYTES = 256 * MB
QUICK, QUICK_PER_SECOND, PATIENCE_SECONDS = 200, 10, 10.0
SLOW = 64
UPLOADS, UPLOAD_BYTES = 4, 256 * MB
REFUSED, REFUSED_BYTES = 10, 32 * MB
CLIENTS, RATE_SECONDS, RATE_ROUNDS = 16, 3.0, 3
LARGEST_BYTES = 2_000 * MB
TOO_LARGE = "413 Content Too Large"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer at once, take a body, refuse one unread, or send a large file."""
    path = environ["PATH_INFO"]
    if path == "/file":
        file = Path(os.environ["LARGE_FILE"]).open("rb")  # noqa: SIM115 (the server closes it)
        start_response("200 OK", [("Content-Length", str(FILE_BYTES))])
        wrap = environ.get("wsgi.file_wrapper")
        return wrap(file, CHUNK_BYTES) if wrap else iter(lambda: file.read(CHUNK_BYTES), b"")
    taken = 0
    if path == "/take":
        left = int(environ["CONTENT_LENGTH"])
        while left and (chunk := environ["wsgi.input"].read(min(left, CHUNK_BYTES))):
            taken += len(chunk)
            left -= len(chunk)
    answer = str(taken).encode()
    start_response(TOO_LARGE if path == "/refuse" else "200 OK", [("Content-Length", str(len(answer)))])
    return [answer]


class OpenGate:
    """Lets every body in."""

    app = staticmethod(application)

    def __init__(self, proxies: Any) -> None:
        self.proxies = proxies

    def is_upload(self, request: Any) -> bool:
        """Let no request wait for a place: this application unpacks nothing."""
        del request
        return False

    def look(self, request: Any) -> int:
        """Tell how many bytes a body may have."""
        del request
        return LARGEST_BYTES

    def ask(self, shown: str, address: str) -> int:
        """Tell the same; no request is asked for."""
        del shown, address
        return LARGEST_BYTES


def serve_ours(port: int) -> None:
    """Serve by the project's own server until SIGTERM."""
    from tomaat.web.http.addresses import Proxies  # noqa: PLC0415 (the others' processes stay small)
    from tomaat.web.http.serve import WebServer, bind  # noqa: PLC0415 (likewise)

    server = WebServer(
        OpenGate(Proxies(["127.0.0.1"])),
        sockets=bind("127.0.0.1", port),
        threads=THREADS,
        most_connections_of_one_address=SLOW,
        largest_spools_bytes=2 * UPLOADS * UPLOAD_BYTES,
        temporary=Path(tempfile.gettempdir()),
    )
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server.start()
    signal.sigwait({signal.SIGTERM})
    server.stop()


def command(name: str, port: int) -> list[str]:
    """Return the command that starts a server, most by their own programs."""
    place, threads = f"127.0.0.1:{port}", str(THREADS)
    load = "from benchmarks.web_servers import application;"
    in_threads = f"a2wsgi.WSGIMiddleware(application, workers={threads})"
    commands = {
        "ours": ["-m", "benchmarks.web_servers", "serve", str(port)],
        "waitress": ["-m", "waitress", "--listen", place, "--threads", threads, APPLICATION],
        "gunicorn": ["-m", "gunicorn", "--bind", place, "-k", "gthread", "--threads", threads, APPLICATION],
        "cheroot": ["-m", "cheroot", "--bind", place, "--threads", threads, "--max-threads", threads, APPLICATION],
        "gevent": [
            "-c",
            f"{load} from gevent.pywsgi import WSGIServer as W; W('{place}', application, log=None).serve_forever()",
        ],
        "uvicorn": ["-c", f"{load} import a2wsgi, uvicorn; uvicorn.run({in_threads}, port={port}, log_level='error')"],
        "hypercorn": ["-m", "hypercorn", "--bind", place, f"wsgi:{APPLICATION}"],
        "granian": [
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--port",
            str(port),
            "--blocking-threads",
            threads,
            APPLICATION,
        ],
    }
    return [sys.executable, *commands[name]]


class Running:
    """One server in a process of its own, with the folder into which it may spool."""

    def __init__(self, name: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.spool = folder / name
        self.spool.mkdir()
        environment = os.environ | {"TMPDIR": str(self.spool), "LARGE_FILE": str(folder / "large")}
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                command(name, self.port), cwd=REPOSITORY, env=environment, stderr=log, stdout=log
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), self.connect() as connection:
                if ask(connection, "/quick"):
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{name} does not answer")

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """Open a connection."""
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(PATIENCE_SECONDS)
        try:
            connection.connect(("127.0.0.1", self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def processes(self) -> list[psutil.Process]:
        """Return all of the server's processes."""
        mine = psutil.Process(self.process.pid)
        return [mine, *mine.children(recursive=True)]

    def memory_mb(self) -> float:
        """Add up the memory of all processes, in MB."""
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / MB

    def spooled_mb(self) -> float:
        """Add up the files in the folder for temporary files, deleted ones that are open included, in MB."""
        total = 0
        for process in self.processes():
            for path in Path(f"/proc/{process.pid}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    if str(path.readlink()).startswith(str(self.spool)):
                        total += path.stat().st_size
        return total / MB

    def stop(self) -> float:
        """End the server by SIGTERM; return the seconds that it took, at most 30."""
        began = time.monotonic()
        processes = self.processes()
        self.process.terminate()
        psutil.wait_procs(processes, timeout=30)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        return time.monotonic() - began


def ask(connection: socket.socket, path: str) -> bytes:
    """Send a request without a body; return the answer, or nothing where it was cut off."""
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n0" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    return data


def head(path: str, length: int) -> bytes:
    """Begin a request with a body."""
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


@contextlib.contextmanager
def trickling(running: Running, first: bytes, then: bytes) -> Iterator[None]:
    """Hold 64 connections that send a byte a second."""
    connections = [running.connect() for _ in range(SLOW)]
    over = threading.Event()

    def trickle() -> None:
        place = 0
        while not over.wait(1):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(then[place : place + 1], socket.MSG_DONTWAIT)
            place += 1

    for connection in connections:
        connection.sendall(first)
    sending = threading.Thread(target=trickle)
    sending.start()
    try:
        yield
    finally:
        over.set()
        sending.join()
        for connection in connections:
            connection.close()


@contextlib.contextmanager
def slow_readers(running: Running) -> Iterator[None]:
    """Hold 64 downloads that are not read on."""
    connections = [running.connect(receive_bytes=4096) for _ in range(SLOW)]
    for connection in connections:
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(1)
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


def quick_answers(running: Running) -> str:
    """Ask 200 times within 20 s; tell the longest answer, or how many had none within 10 s."""

    def once() -> float | None:
        began = time.monotonic()
        try:
            with running.connect() as connection:
                return time.monotonic() - began if ask(connection, "/quick") else None
        except OSError:
            return None

    with ThreadPoolExecutor(QUICK) as pool:
        asked = []
        for _ in range(QUICK):
            asked.append(pool.submit(once))
            time.sleep(1 / QUICK_PER_SECOND)
        took = [each.result() for each in asked]
    answered = [each for each in took if each is not None]
    unanswered = f", {QUICK - len(answered)} unanswered" if len(answered) < QUICK else ""
    return f"{1000 * max(answered, default=0):.0f} ms{unanswered}"


def upload(running: Running, path: str, size: int, patience_seconds: float) -> bytes:
    """Send a whole body, whatever is answered meanwhile; return the status line, or nothing after any error."""
    piece = bytes(MB)
    try:
        with running.connect() as connection:
            connection.settimeout(patience_seconds)
            connection.sendall(head(path, size))
            for _ in range(size // MB):
                connection.sendall(piece)
            return connection.recv(65536).partition(b"\r\n")[0]
    except OSError:
        return b""


def large_uploads(running: Running) -> str:
    """Send four uploads at once; tell the memory above idle and the most bytes that lay spooled."""
    idle = running.memory_mb()
    with ThreadPoolExecutor(UPLOADS) as pool:
        began = time.monotonic()
        sent = [pool.submit(upload, running, "/take", UPLOAD_BYTES, 120) for _ in range(UPLOADS)]
        memory, spooled = 0.0, 0.0
        while not all(each.done() for each in sent):
            memory, spooled = max(memory, running.memory_mb()), max(spooled, running.spooled_mb())
            time.sleep(0.02)
        took = time.monotonic() - began
    whole = sum(b" 200 " in each.result() for each in sent)
    return f"+{memory - idle:.0f} MB, {spooled:.0f} MB spooled, {took:.1f} s, {whole} of {UPLOADS}"


def refusals(running: Running) -> str:
    """Count the clients that read why they are refused, although they send everything first: most programs do."""
    read = sum(b" 413 " in upload(running, "/refuse", REFUSED_BYTES, PATIENCE_SECONDS) for _ in range(REFUSED))
    return f"{read} of {REFUSED}"


def rate(running: Running) -> float:
    """Return the small requests a second of 16 clients."""
    until = time.monotonic() + RATE_SECONDS

    def client() -> int:
        count = 0
        while time.monotonic() < until:
            with contextlib.suppress(OSError), running.connect() as connection:
                while time.monotonic() < until and ask(connection, "/quick"):
                    count += 1
        return count

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(lambda _: client(), range(CLIENTS))) / RATE_SECONDS


def measure(name: str, running: Running) -> None:
    """Print one server's figures."""

    def say(what: str, figure: str) -> None:
        print(f"| {name} | {what} | {figure} |", flush=True)

    say("idle", f"{running.memory_mb():.0f} MB")
    say("four uploads of 256 MB", large_uploads(running))
    with trickling(running, b"GET /quick HTTP/1.1\r\nHost: x\r\nX: ", b"x" * 1000):
        say("longest quick answer beside 64 slow headers", quick_answers(running))
    with trickling(running, head("/take", 1000), b"x" * 1000):
        say("… beside 64 slow bodies", quick_answers(running))
    with slow_readers(running):
        say("… beside 64 downloads that stand still", quick_answers(running))
    say("refused clients that read why", refusals(running))


def main(names: list[str]) -> None:
    """Measure the servers of these names, or all that are installed."""
    missing = [name for name, packages in SERVERS.items() if not all(map(importlib.util.find_spec, packages))]
    for name in missing:
        print(f"skipped: {name} (pip install {' '.join(SERVERS[name])})")
    chosen = [name for name in names or SERVERS if name not in missing]
    print(f"load average {os.getloadavg()[0]:.1f}\n\n| server | measured | figure |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with (folder / "large").open("wb") as file:
            file.truncate(FILE_BYTES)
        with contextlib.ExitStack() as stop:
            running = {}
            for name in chosen:
                running[name] = Running(name, folder)
                stop.callback(running[name].process.kill)
            rates: dict[str, list[float]] = {name: [] for name in chosen}
            for _ in range(RATE_ROUNDS):
                for name in chosen:
                    rates[name].append(rate(running[name]))
            floor = statistics.median(rates[chosen[0]])
            for name in chosen:
                each = statistics.median(rates[name])
                print(f"| {name} | small requests/s | {each:.0f}, {each / floor:.2f} of {chosen[0]}'s |", flush=True)
            for name in chosen:
                measure(name, running[name])
            for name in chosen:
                with running[name].connect() as slow:
                    slow.sendall(head("/take", 1000))
                    print(
                        f"| {name} | stopped beside an unfinished upload | {running[name].stop():.1f} s |", flush=True
                    )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve_ours(int(sys.argv[2]))
    else:
        main(sys.argv[1:])
