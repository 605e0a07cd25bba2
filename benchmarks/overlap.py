"""How much of a backlog's time the device performs, with and without the overlap: ``python3 -m benchmarks.overlap``.

A task takes a 26 MB volume (int16, 256 x 256 x 200), passes some seconds as a device does, and gives the volume back. A
backlog waits while nothing runs; then it drains twice, in turns: once as the service does it, once with a lane that
reads nothing ahead and claims the next ticket only when the last one has ended. That lane is made of the same code
from outside (``--without``). ``--python`` passes the time in Python code, which shares the interpreter with reading
and packing; else it sleeps, as Python does while a device works. ``--ct`` sends the CT of ``benchmarks.volumes``
(512 x 512 x 300) and gets its 59 labels, with their picture.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import json
import os
import platform
import runpy
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.instances import instances
from benchmarks.scans import middle_voxels, packed
from benchmarks.volumes import make_ct
from tests.service import REPOSITORY, Service, payload

SCHEDULER = "TaskScheduling.py"
TASK = '''
import json
import os
import time
from pathlib import Path

import numpy as np

from Inputs import FloatInput, IntInput, VolumeInput
from tomaat.services import Task
from tomaat.volumes import Labels

journal = Path(__file__).parents[1] / "journal"
drawn = Path(__file__).with_name("drawn.npy")


class Timed(Task):
    """Passes the time and tells when."""

    task_identifier = "Timed"
    description = "Passes the time."
    inputs = (
        VolumeInput("scan", "Scan"),
        FloatInput("seconds", "How long it sleeps", minimum=0.0),
        IntInput("rounds", "How many additions it makes", minimum=0),
    )

    def load(self, device):
        self.drawn = np.load(drawn) if drawn.exists() else None

    def perform(self, scan, seconds, rounds):
        began = time.monotonic()
        time.sleep(seconds)
        total = 0
        for number in range(rounds):
            total += number
        with journal.open("a") as file:
            file.write(json.dumps([began, time.monotonic()]) + "\\n")
        if self.drawn is None:
            return {"volume": scan}
        names = {n: f"structure {n}" for n in range(1, 60)}
        return {"found": Labels(volume=scan.like(self.drawn), names=names)}
'''


def run_without_the_overlap() -> None:
    """Run TaskScheduling with lanes that read nothing ahead and have one ticket under way."""
    lane = importlib.import_module("tomaat.scheduling.lanes")
    vars(lane)["MOST_UNDER_WAY"] = 1
    vars(lane)["Claims"].look_ahead = lambda *_: None
    sys.argv = [SCHEDULER]
    runpy.run_path(SCHEDULER, run_name="__main__")


def start_scheduler(instance: Service, *, overlap: bool) -> None:
    """Start TaskScheduling, with the overlap or without it."""
    if overlap:
        instance.start(SCHEDULER)
        return
    with instance.log_of(SCHEDULER).open("ab") as log:
        instance.doors[SCHEDULER] = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.overlap", "--without"],
            cwd=REPOSITORY,
            env=instance.environment,
            stderr=log,
        )


def drain(instance: Service, journal: Path, data: bytes, tickets: int, *, overlap: bool) -> dict[str, float]:
    """Let a backlog wait, then drain; tell the share of time that performs, the seconds, and what they consist of."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: instance.post("Timed", data), range(tickets)))
    sent = [answer.json() for answer in answers]
    journal.unlink(missing_ok=True)
    start_scheduler(instance, overlap=overlap)
    for ticket in sent:
        state = instance.wait(ticket, 1800)["state"]
        if state != "succeeded":
            raise RuntimeError(f"a ticket {state}")
    instance.terminate(SCHEDULER)
    shutil.rmtree(instance.folder / "storage/tickets", ignore_errors=True)
    (instance.folder / "storage/tickets").mkdir()
    performs = [json.loads(line) for line in journal.read_text().splitlines()]
    seconds = performs[-1][1] - performs[0][0]
    performing = [end - began for began, end in performs]
    between = [after[0] - before[1] for before, after in itertools.pairwise(performs)]
    return {
        "share": sum(performing) / seconds,
        "seconds": seconds,
        "perform": statistics.median(performing),
        "between": statistics.median(between),
    }


def rounds_for(seconds: float) -> int:
    """Tell how many additions Python makes in so many seconds here, now."""
    began, total, rounds = time.perf_counter(), 0, 5_000_000
    for number in range(rounds):
        total += number
    return int(rounds * seconds / (time.perf_counter() - began))


def measure(arguments: argparse.Namespace) -> None:
    """Print a line for each drain, and their ratio."""
    rounds = rounds_for(arguments.seconds) if arguments.python else 0
    inputs = {"seconds": 0.0 if arguments.python else arguments.seconds, "rounds": rounds}
    if arguments.ct:
        voxels, drawn = make_ct()
        scan = packed(voxels.transpose(2, 1, 0))
    else:
        scan, drawn = packed(middle_voxels()), None
    data = payload(inputs, scan_nii_gz=scan)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {inputs}\n")
    print("| overlap | share that performs | seconds | perform, median | between two, median |")
    print("| --- | --- | --- | --- | --- |")
    seen: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    with instances() as given:
        folder = given.folder
        (folder / "tasks").mkdir()
        (folder / "tasks/Timed.py").write_text(TASK)
        if drawn is not None:
            np.save(folder / "tasks/drawn.npy", np.where(drawn > 59, 0, drawn))
            del voxels, drawn
        instance = given.start("overlap", "Timed", CUSTOM_TASKS_DIR=str(folder / "tasks"), LONGEST_QUEUE="1000")
        instance.terminate(SCHEDULER)
        for _ in range(arguments.turns):
            for overlap in (True,) if arguments.only else (False, True):
                one = drain(instance, folder / "journal", data, arguments.tickets, overlap=overlap)
                seen[overlap].append(one)
                told = f"{one['share']:.3f} | {one['seconds']:.1f} | {one['perform']:.2f} s | {one['between']:.3f} s"
                print(f"| {'yes' if overlap else 'no'} | {told} |", flush=True)

    if arguments.only:
        return
    medians = {
        overlap: {name: statistics.median(one[name] for one in drains) for name in drains[0]}
        for overlap, drains in seen.items()
    }
    print(f"\nShare, with / without: {medians[True]['share'] / medians[False]['share']:.2f}")
    print(f"Seconds, without / with: {medians[False]['seconds'] / medians[True]['seconds']:.2f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tickets", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--python", action="store_true")
    parser.add_argument("--ct", action="store_true")
    parser.add_argument("--only", action="store_true", help="with the overlap only")
    parser.add_argument("--without", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    run_without_the_overlap() if arguments.without else measure(arguments)


if __name__ == "__main__":
    main()
