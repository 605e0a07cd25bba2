"""Measure the service on this machine, each figure beside its floor, in one run: ``make benchmark``.

It starts a private PostgreSQL and instances of its own over loopback, and prints a table in Markdown. Figures of
different runs or machines are not to be compared; the ratios are.
"""

from __future__ import annotations

import heapq
import http.server
import json
import os
import platform
import random
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import requests
import sqlalchemy

from benchmarks.client import Client, from_clients
from benchmarks.instances import instances, write_large_payload
from tests.service import Service, payload
from tomaat.database import connect
from tomaat.storage.files import flush

FOUR = '{"cpu-0": null, "cpu-1": null, "cpu-2": null, "cpu-3": null}'
rows: list[tuple[str, str, str, str]] = []


def note(what: str, measured: str, floor: str, ratio: str) -> None:
    """Print a line of the table as soon as it is known."""
    rows.append((what, measured, floor, ratio))
    print(f"| {what} | {measured} | {floor} | {ratio} |", flush=True)


def times(action: Callable[[], Any], count: int) -> list[float]:
    """Time an action several times, in seconds."""
    measured = []
    for _ in range(count):
        began = time.perf_counter()
        action()
        measured.append(time.perf_counter() - began)
    return measured


class Echo(http.server.BaseHTTPRequestHandler):
    """The smallest HTTP server: the floor of a round trip."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Read and answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def floor_of_latency(database_url: str, folder: Path, data: bytes) -> Callable[[], None]:
    """Make what a ticket cannot do without: two round trips, three commits, the flushes, the sum itself."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    session = requests.Session()
    connection = connect(database_url, deadline_seconds=10).connect()
    connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS floor (n int)"))

    def once() -> None:
        session.post(url, data=data, timeout=10)
        for name in ("main.json", "result.tar.gz"):
            path = folder / name
            path.write_bytes(data)
            flush(path)
            flush(folder)
        for _ in range(3):
            connection.execute(sqlalchemy.text("INSERT INTO floor VALUES (1)"))
        _ = 2.5 + 4
        session.get(url, timeout=10)

    return once


def measure_latency(instance: Service, folder: Path) -> None:
    """One FloatComputation ticket after the other, alternating with the floor."""
    data = payload({"f1": 2.5, "f2": 4})
    floor = floor_of_latency(instance.database_url, folder, data)
    client = Client(instance.url)
    ticket_seconds: list[float] = []
    floor_seconds: list[float] = []
    for _ in range(100):
        ticket_seconds += times(lambda: client.ticket("FloatComputation", data), 1)
        floor_seconds += times(floor, 1)
    ours, least = statistics.median(ticket_seconds[5:]), statistics.median(floor_seconds[5:])
    note(
        "latency of a FloatComputation ticket (median of 95)",
        f"{1000 * ours:.1f} ms",
        f"{1000 * least:.1f} ms (2 round trips, 3 commits, flushes)",
        f"{ours / least:.1f}",
    )


def measure_clients(instance: Service, clients: int) -> None:
    """Many clients, each with one ticket after the other."""
    data = payload({"f1": 2.5, "f2": 4})
    alone = statistics.median(times(partial(Client(instance.url).ticket, "FloatComputation", data), 30))
    tickets = 25 * clients
    rate = tickets / from_clients(
        instance.url, clients, tickets, lambda client: client.ticket("FloatComputation", data)
    )
    note(
        f"tickets per second, {clients} clients",
        f"{rate:.0f}/s",
        f"{1 / alone:.0f}/s (one client)",
        f"{rate * alone:.1f}",
    )


def measure_large_upload(instance: Service, folder: Path) -> None:
    """Send 1 GiB of voxels that do not compress, and watch the memory of the web process."""
    write_large_payload(folder / "large.tar.gz")
    web = psutil.Process(instance.doors["WebService.py"].pid)
    idle = peak = web.memory_info().rss
    command = ["curl", "-sS", "--fail", "-F", "service=GaussianSmoothing"]
    command += ["-F", f"payload=@{folder / 'large.tar.gz'}", f"{instance.url}/request"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as upload:
        while upload.poll() is None:
            peak = max(peak, web.memory_info().rss)
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        ticket = json.loads(upload.communicate()[0])
    requests.delete(instance.url + ticket["links"]["cancel"], timeout=60).raise_for_status()
    note(
        f"memory of the web process during an upload of 1.07 GB ({seconds:.0f} s)",
        f"{peak / 1e6:.0f} MB",
        f"{idle / 1e6:.0f} MB (before it)",
        f"{peak / idle:.2f}",
    )


def list_scheduling(durations: list[float], machines: int) -> float:
    """Tell how long durations take when each, in order, starts on the machine that is free first."""
    free = [0.0] * machines
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def measure_queues(instance: Service) -> None:
    """200 Dummy tickets of mixed durations on four CPU sources, against list scheduling of the same arrivals."""
    generator = random.Random(7)
    durations = [generator.choice([0.1, 0.2, 0.4, 1.0, 2.0]) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seconds: instance.submit("Dummy", {"seconds": seconds}), durations))
    instance.until(
        lambda: instance.rows("SELECT count(*) AS n FROM tickets WHERE state = 'succeeded'")[0].n == 200, 300
    )
    row = instance.rows("SELECT extract(epoch FROM max(finished) - min(created)) AS s FROM tickets")[0]
    ideal = list_scheduling(durations, 4)
    note(
        "200 Dummy tickets (0.1 to 2 s) on 4 sources, first upload to last end",
        f"{float(row.s):.1f} s",
        f"{ideal:.1f} s (list scheduling)",
        f"{float(row.s) / ideal:.2f}",
    )


def main() -> None:
    """Run all measurements on instances of their own."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, no GPU used\n")
    print("| what | measured | floor or reference | ratio |\n| --- | --- | --- | --- |")
    with instances() as given:
        folder = given.folder
        single = given.start("single")
        measure_latency(single, folder)
        measure_clients(single, 16)
        measure_clients(single, 64)
        measure_large_upload(single, folder)
        single.stop()
        four = given.start("four", COMPUTE_SOURCES=FOUR)
        four.until(lambda: len(four.rows("SELECT DISTINCT source FROM offers")) == 4, 60)
        measure_queues(four)
    print(json.dumps({"figures": len(rows)}))


if __name__ == "__main__":
    main()
