"""Heavy loads, with their findings: ``python3 -m benchmarks.load [tickets] [uploads] [slow] [soak HOURS]``.

Without words: all but the soak. Each load is bounded in count and in time, and goes over loopback only.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import requests

from benchmarks.instances import instances, write_large_payload
from tests.service import DOORS, Service, payload

MB = 1_000_000
TICKETS, CLIENTS = 10_000, 64
UPLOADS = 8
SLOW, SLOW_SECONDS = 1000, 60.0
SOAK_CLIENTS, SAMPLE_SECONDS = 4, 60.0
PUT_OFF: list[str] = []  #: requests that were answered 503, and repeated


@contextlib.contextmanager
def watched(instance: Service, sample: Callable[[dict[str, float]], None], every: float = 0.05) -> Iterator[None]:
    """Sample the memory of each door in MB while something happens."""
    over = threading.Event()
    processes = {door: psutil.Process(instance.doors[door].pid) for door in DOORS}

    def watch() -> None:
        while not over.wait(every):
            sample({door: process.memory_info().rss / MB for door, process in processes.items()})

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def answered(ask: Callable[[], requests.Response]) -> requests.Response:
    """Ask again, as it says, for as long as a service that cannot take more now answers 503."""
    give_up = time.monotonic() + 600
    while (answer := ask()).status_code == 503 and time.monotonic() < give_up:
        PUT_OFF.append(answer.url)
        time.sleep(float(answer.headers.get("Retry-After", "1")))
    return answer


def round_trip(instance: Service, session: requests.Session, f1: float) -> str | None:
    """Send one ticket and fetch its result; return what was wrong with it."""
    packed = payload({"f1": f1, "f2": 0.25})
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answer = answered(
        lambda: session.post(
            f"{instance.url}/request",
            data={"service": "FloatComputation"},
            files={"payload": ("p.tar.gz", packed)},
            headers=key,
            timeout=120,
        )
    )
    if answer.status_code != 202:
        return f"submitting: {answer.status_code}"
    address = f"{instance.url}{answer.json()['links']['result']}?wait=20"
    give_up = time.monotonic() + 600
    while time.monotonic() < give_up:
        result = answered(lambda: session.get(address, timeout=120))
        if result.status_code == 200:
            with tarfile.open(fileobj=io.BytesIO(result.content)) as archive:
                value = json.load(archive.extractfile("result.json"))["outputs"][0]["value"]  # type: ignore[arg-type]
            return None if value == f1 + 0.25 else f"{f1}: {value}"
        if result.status_code != 409:
            return f"fetching: {result.status_code}"
        time.sleep(0.2)
    return "it did not end within 600 s"


def load_tickets(instance: Service, _: Path) -> None:
    """10,000 tickets from 64 clients, each of which fetches and checks its results."""
    peak: dict[str, float] = dict.fromkeys(DOORS, 0)
    local = threading.local()

    def one(number: int) -> str | None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return round_trip(instance, local.session, float(number))

    began = time.monotonic()
    with (
        watched(instance, lambda now: peak.update({door: max(peak[door], now[door]) for door in DOORS})),
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        wrong = [fault for fault in pool.map(one, range(TICKETS)) if fault]
    seconds = time.monotonic() - began
    rows = instance.rows("SELECT count(*) AS n, max(claim) AS claims FROM tickets")
    print(
        f"- {TICKETS} tickets from {CLIENTS} clients in {seconds:.0f} s ({TICKETS / seconds:.0f}/s), all fetched: "
        f"{len(wrong)} lost or wrong; {rows[0].n} rows, highest claim {rows[0].claims}. Most memory: "
        + ", ".join(f"{door} {size:.0f} MB" for door, size in peak.items())
        + "".join(f"\n  - {fault}" for fault in wrong[:10]),
        flush=True,
    )


def load_uploads(instance: Service, folder: Path) -> None:
    """Eight uploads of 1 GB at once, while the web process's memory is watched."""
    write_large_payload(folder / "large.tar.gz")
    peak = [0.0]
    idle = psutil.Process(instance.doors["WebService.py"].pid).memory_info().rss / MB
    command = ["curl", "-sS", "--fail", "-F", "service=GaussianSmoothing"]
    command += ["-F", f"payload=@{folder / 'large.tar.gz'}", f"{instance.url}/request"]
    instance.terminate("TaskScheduling.py")  # nothing is to be computed
    instance.doors.pop("TaskScheduling.py")
    web = psutil.Process(instance.doors["WebService.py"].pid)
    began = time.monotonic()
    uploads = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(UPLOADS)]
    while any(upload.poll() is None for upload in uploads):
        peak[0] = max(peak[0], web.memory_info().rss / MB)
        time.sleep(0.01)
    seconds = time.monotonic() - began
    tickets = [json.loads(upload.communicate()[0] or b"null") for upload in uploads]
    taken = [ticket for ticket in tickets if ticket]
    for ticket in taken:
        requests.delete(instance.url + ticket["links"]["cancel"], timeout=60).raise_for_status()
    print(
        f"- {UPLOADS} uploads of 1.07 GB at once in {seconds:.0f} s: {len(taken)} taken; the web process held at most "
        f"{peak[0]:.0f} MB ({idle:.0f} MB before).",
        flush=True,
    )


def load_slow(instance: Service, _: Path) -> None:
    """1,000 connections that send a byte a second, opened again when they are closed, beside another client."""
    head = (
        f"POST /request HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: 100000\r\n\r\n--b\r\nContent-Disposition: form-data; name={json.dumps('service')}\r\n\r\n"
    ).encode()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    over = threading.Event()
    opened: list[int] = []

    def open_one(number: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", instance.port))
        if number % 2:
            with contextlib.suppress(OSError):
                client.send(head)  # every other one has its headers through and drips its body
        opened.append(number)
        return client

    slow = [open_one(number) for number in range(SLOW)]

    def drip() -> None:
        while not over.wait(1.0):
            for number, client in enumerate(slow):
                try:
                    client.send(b"x")
                except OSError:
                    client.close()
                    slow[number] = open_one(number)

    dripping = threading.Thread(target=drip)
    dripping.start()
    session = requests.Session()
    seconds: list[float] = []
    faults: list[str] = []
    give_up = time.monotonic() + SLOW_SECONDS
    number = 0
    while time.monotonic() < give_up:
        began = time.perf_counter()
        session.get(f"{instance.url}/supportedservices", timeout=30).raise_for_status()
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        fault = round_trip(instance, session, float(number))
        seconds.append(time.perf_counter() - began)
        faults += [fault] if fault else []
        number += 1
        time.sleep(0.05)
    over.set()
    dripping.join()
    for client in slow:
        client.close()
    seconds.sort()
    print(
        f"- {SLOW} connections that send a byte a second for {SLOW_SECONDS:.0f} s, {len(opened) - SLOW} of them opened "
        f"again; beside them {len(seconds)} requests for services and whole tickets, {len(faults)} failed: median "
        f"{1000 * statistics.median(seconds):.0f} ms, longest {1000 * seconds[-1]:.0f} ms.",
        flush=True,
    )


def soak(hours: float) -> None:
    """Keep a steady load up for hours; sample memory, file handles, dead rows and files."""
    with instances() as given:
        instance = given.start("soak", STORAGE_STRATEGY="KEEP_NOTHING", FETCHED_GRACE_SECONDS="10")
        over = threading.Event()
        wrong: list[str] = []
        count = [0] * SOAK_CLIENTS

        def client(which: int) -> None:
            session = requests.Session()
            while not over.is_set():
                fault = round_trip(instance, session, float(count[which]))
                wrong.extend([fault] if fault else [])
                count[which] += 1
                over.wait(0.1)

        clients = [threading.Thread(target=client, args=(which,)) for which in range(SOAK_CLIENTS)]
        for each in clients:
            each.start()
        print("| minute | tickets | web MB | manager MB | scheduler MB | worker MB | handles | dead rows | files |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
        began = time.monotonic()
        minute = 0
        while time.monotonic() - began < hours * 3600:
            time.sleep(SAMPLE_SECONDS)
            minute += 1
            if minute % 10 in {0, 1}:
                print(sample(instance, minute, sum(count)), flush=True)
        over.set()
        for each in clients:
            each.join()
        print(f"\n{sum(count)} tickets, {len(wrong)} lost or wrong {wrong[:5]}; {len(PUT_OFF)} times told to ask again")


def sample(instance: Service, minute: int, tickets: int) -> str:
    """Read memory, handles, dead rows and files."""
    processes = [psutil.Process(instance.doors[door].pid) for door in DOORS]
    processes.append(psutil.Process(instance.worker_pid()))
    sizes = [f"{process.memory_info().rss / MB:.0f}" for process in processes]
    handles = sum(process.num_fds() for process in processes)
    dead = instance.rows("SELECT sum(n_dead_tup) AS n FROM pg_stat_user_tables")[0].n
    files = sum(len(names) for _, _, names in os.walk(instance.folder / "storage"))
    return f"| {minute} | {tickets} | {' | '.join(sizes)} | {handles} | {dead} | {files} |"


def main() -> None:
    """Run the loads that the command line names."""
    loads = {"tickets": load_tickets, "uploads": load_uploads, "slow": load_slow}
    words = sys.argv[1:] or list(loads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, clients on the same\n")
    if words[0] == "soak":
        soak(float(words[1]))
        return
    for word in words:
        with instances() as given:
            loads[word](given.start(word), given.folder)


if __name__ == "__main__":
    main()
