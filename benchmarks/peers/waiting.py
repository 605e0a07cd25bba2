"""What it costs that 50,000 tickets wait, beside 50: a submit, an assignment, a round of the manager.

As a program (``python3 -m benchmarks.peers.waiting JOURNAL python3 QueueManager.py``) it is the manager, and notes the
seconds of each round.
"""

from __future__ import annotations

import importlib
import runpy
import statistics
import sys
import time
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

from benchmarks.client import Client
from benchmarks.instances import Instances, instances
from benchmarks.peers.stacks import FLOAT, tasks_in
from tests.service import Service, payload

FEW, MANY = 50, 50_000
TICKETS, WARM_UP = 60, 5
SETTLE_SECONDS, MOST_SECONDS = 5.0, 60.0
MANAGER = "QueueManager.py"


def waiting(scale: float) -> None:
    """Print the costs with few and with many, measured in turns, and their ratios."""
    counts = (FEW, max(FEW, round(MANY * scale)))
    with instances() as given:
        tasks = tasks_in(given.folder, FLOAT, "CustomTasks/DummyTask.py")
        sides = [prepared(given, count, tasks) for count in dict.fromkeys(counts)]
        time.sleep(SETTLE_SECONDS)
        costs: dict[int, list[tuple[float, float]]] = {count: [] for count in counts}
        give_up = time.monotonic() + MOST_SECONDS
        for turn in range(max(1, round(TICKETS * scale)) + WARM_UP):
            if turn > WARM_UP and time.monotonic() > give_up:
                break
            for count, side in list(zip(counts, sides, strict=True))[:: -1 if turn % 2 else 1]:
                costs[count].append(submit_and_assign(side))
        rounds = [[float(line) for line in journal_of(side).read_text().split()] for side in sides]
    few, many = (list(zip(*costs[count][WARM_UP:], strict=True)) for count in counts)
    print(f"| with so many waiting | {counts[0]:,} | {counts[1]:,} | ratio |\n| --- | --- | --- | --- |")
    for which, what in enumerate(("submit", "from there to its queue")):
        print(line(f"{what}, median", *(statistics.median(side[which]) for side in (few, many))))
    print(line("the manager's round, median", *(statistics.median(each) for each in rounds)))
    print(line("the manager's round, 19 of 20 within", *(sorted(each)[len(each) * 19 // 20] for each in rounds)))


def line(what: str, few: float, many: float) -> str:
    """Write a line of the table."""
    return f"| {what} | {1000 * few:.1f} ms | {1000 * many:.1f} ms | {many / few:.2f} |"


def prepared(given: Instances, count: int, tasks: Path) -> Service:
    """Start an instance whose one source is busy, with so many tickets in its queue."""
    instance = given.start(
        f"waiting_{count}", "FloatComputation", "Dummy", CUSTOM_TASKS_DIR=str(tasks), LONGEST_QUEUE="1000000"
    )
    busy = instance.submit("Dummy", {"seconds": 3600})
    instance.until(lambda: instance.status(busy)["state"] == "running")
    front = instance.submit("FloatComputation", {"f1": 1, "f2": 2})  # the lane may read it ahead
    instance.until(lambda: instance.status(front)["state"] == "queued")
    instance.terminate(MANAGER)
    instance.rows(
        "SET session_replication_role = replica;"  # no ticket begins like these
        "INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source) "
        "SELECT decode(md5(n::text) || md5(n::text), 'hex'), service, interface_hash, 'waits' || n, 'queued', source "
        "FROM tickets, generate_series(1, :count) n WHERE state = 'queued'",
        count=count,
    )
    instance.rows("VACUUM ANALYZE")
    instance.before = lambda _: [sys.executable, "-m", "benchmarks.peers.waiting", str(journal_of(instance))]
    instance.start(MANAGER)
    return instance


def journal_of(instance: Service) -> Path:
    """Tell where the seconds of the rounds are noted."""
    return instance.folder / "rounds"


def submit_and_assign(instance: Service) -> tuple[float, float]:
    """Tell how long submitting takes, and from there until the ticket is in its queue."""
    with closing(Client(instance.url)) as client:
        began = time.perf_counter()
        result = client.submit("FloatComputation", payload({"f1": 2.5, "f2": 4.0}))
        submitted = time.perf_counter()
        client.connection.request("GET", f"{result.replace('/result/', '/status/')}?wait=30&state=submitted")
        answer = client.connection.getresponse()
        if answer.status != HTTPStatus.OK or b'"queued"' not in answer.read():
            raise RuntimeError(f"waiting for a queue: {answer.status}")
        return submitted - began, time.perf_counter() - submitted


def manage_and_time(journal: Path) -> None:
    """Run QueueManager, and note how long each round takes."""
    manager = importlib.import_module("tomaat.manager.manager").Manager
    do_round = manager.round

    def timed(self: object, *heard: object) -> float:
        began = time.perf_counter()
        pause: float = do_round(self, *heard)
        file.write(f"{time.perf_counter() - began}\n")
        return pause

    manager.round = timed
    sys.argv = [MANAGER]
    with journal.open("a", buffering=1) as file:
        runpy.run_path(MANAGER, run_name="__main__")


if __name__ == "__main__":
    manage_and_time(Path(sys.argv[1]))
