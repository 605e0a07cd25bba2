"""Every cell of the fault matrix many times, then random kills under load: ``python3 -m tests.chaos --report FILE``.

Several stages run side by side, each in a process of its own, since only a main thread may start PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos import trials
from tests.chaos.disks import small_disk
from tests.chaos.faults import BOUNDS
from tests.chaos.matrix import CELLS, DISK_CELLS, table
from tests.chaos.Stage import LEASE_SECONDS, Stage
from tests.chaos.trial import run_cell
from tests.chaos.Verdict import Verdict, check

COUNTERS = ("lost", "accepted_twice", "stale_accepted", "wrong", "leaked", "orphan_files", "stuck")
DISK_ROUNDS_OF_A_STAGE = 5  #: what its tickets keep must leave room on its small disk
LANES = "TOMAAT_CHAOS_LANES"  #: a variable: of the stages' compute source
CELLS_OF_A_STAGE = 150  #: then a fresh one, so that a fault is found near where it happened


def run_share(share: int, shares: int, rounds: int, kills: int, seed: int) -> None:
    """Run one share of all trials; print its findings as JSON lines."""
    chosen = random.Random(seed)
    cells = CELLS * rounds
    chosen.shuffle(cells)
    own = cells[share::shares]
    for start in range(0, len(own), CELLS_OF_A_STAGE):
        with_stage(lambda stage, part=own[start : start + CELLS_OF_A_STAGE]: run_cells(stage, part))
    with_stage(lambda stage: say(kills=trials.kill_at_random(stage, kills // shares, seed + share)))
    if share == 0:
        with_stage(lambda stage: run_others(stage, rounds))
        with_stage(trials.behave_badly, ATTEMPTS="2")
        with_stage(lambda stage: say(clock_set=trials.step_the_database_clock(stage)))
        with_stage(lambda stage: say(slow_kept=trials.outlast_slow_clients(stage)), TRUSTED_PROXIES="[]")
        run_full_disks(rounds)


def run_cells(stage: Stage, cells: list[Any]) -> None:
    """Run cells one after another on one stage."""
    for moment, fault in cells:
        say(cell=fault.name, moment=moment.name, figures=run_cell(stage, moment, fault))


def run_others(stage: Stage, rounds: int) -> None:
    """Run what is no cell and no kill."""
    for _ in range(rounds):
        ends = trials.outlast_an_outage(stage)
        say(outage={"tickets": len(ends), "started again": sum(end != (1, 0) for end in ends)})
    trials.shift_clocks(stage, trials.build_clock(stage.folder))


def run_full_disks(rounds: int) -> None:
    """Fill the storage at its moments and PostgreSQL's disk under load, again and again."""
    try:
        for start in range(0, rounds, DISK_ROUNDS_OF_A_STAGE):
            some = min(DISK_ROUNDS_OF_A_STAGE, rounds - start)
            with small_disk(128) as storage, small_disk(192) as database:
                with_stage(lambda stage, some=some: fill_disks(stage, some), storage=storage, database_disk=database)
    except PermissionError as error:
        say(not_tried=str(error))


def fill_disks(stage: Stage, rounds: int) -> None:
    """Run the cells of the full disks on one stage."""
    run_cells(stage, DISK_CELLS * rounds)
    for _ in range(rounds):
        say(database_full={"refused": trials.fill_the_database(stage)})


def with_stage(act: Any, **options: Any) -> None:
    """Make a stage, act on it, and say the checker's verdict."""
    with tempfile.TemporaryDirectory(prefix="tomaat-chaos-") as folder:
        stage = Stage(Path(folder), **{"LANES": os.environ.get(LANES, "1"), **options})
        try:
            stage.open()
            expected = act(stage)
            say(verdict=asdict(check(stage, expected if isinstance(expected, dict) else None)))
        except Exception:  # noqa: BLE001 (one stage that is stuck does not end the others)
            say(verdict=asdict(Verdict(stuck=1, evidence=[traceback.format_exc()])))
        finally:
            stage.close()


def say(**facts: Any) -> None:
    """Print one finding."""
    print(json.dumps(facts), flush=True)


def report(findings: list[dict[str, Any]], arguments: argparse.Namespace, seconds: float) -> str:
    """Write what all shares found, as Markdown."""
    verdict = Verdict()
    longest: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    kills: dict[str, int] = defaultdict(int)
    times: Counter[tuple[str, str]] = Counter()
    needless = outages = refused = 0
    not_tried: list[str] = []
    for finding in findings:
        if "verdict" in finding:
            for name in ("tickets", *COUNTERS):
                setattr(verdict, name, getattr(verdict, name) + finding["verdict"][name])
            verdict.evidence += finding["verdict"]["evidence"]
        if "cell" in finding:
            times[finding["cell"], finding["moment"]] += 1
            needless += int(finding["figures"].pop("needless reruns", 0))
            for name, value in finding["figures"].items():
                longest[finding["cell"]][name].append(value)
        for name, count in finding.get("kills", {}).items():
            kills[name] += count
        outages += finding.get("outage", {}).get("tickets", 0)
        needless += finding.get("outage", {}).get("started again", 0)
        refused += finding.get("database_full", {}).get("refused", 0)
        not_tried += [finding["not_tried"]] if "not_tried" in finding else []
    counters = ", ".join(f"{getattr(verdict, name)} {name.replace('_', ' ')}" for name in COUNTERS)
    lines = [
        "# Faults",
        "",
        f"{times.total() + sum(kills.values())} faults, {verdict.tickets} tickets: {counters}; {needless} started "
        "again needlessly.",
        "",
        f"Seen with `make chaos` on {time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores, Linux "
        f"{platform.release()}, Python {platform.python_version()}, {arguments.jobs} services of "
        f"{arguments.lanes} lanes side by side, leases of "
        f"{LEASE_SECONDS:g} s, in {seconds / 60:.0f} minutes: each cell of the matrix {min(times.values(), default=0)} "
        f"times in a random order (seed {arguments.seed}), and random kills under load: "
        + ", ".join(f"{count} × {name}" for name, count in kills.items())
        + f". In outages of PostgreSQL of two leases {outages} tickets waited or ran, and went on where they were. "
        f"While PostgreSQL's disk was full, {refused} requests were answered 503; no accepted one was lost.",
        "",
        *[f"Not tried: {reason}." for reason in not_tried],
        "The checker reads a journal of the clients, one of the workers, a log of all transitions that a trigger in "
        "the database writes, all files, all logs and all tables (`tests/chaos/Verdict.py`).",
        "",
        "## Seconds",
        "",
        "Median and longest. *settled*: from when nothing was broken any longer until the last client had its result.",
        "",
        "| fault | measured | bound | median | longest |",
        "| --- | --- | --- | --- | --- |",
    ]
    for fault, figures in longest.items():
        for name, values in figures.items():
            values.sort()
            bound = f"{BOUNDS[name]:g}" if name in BOUNDS else ""
            lines.append(f"| {fault} | {name} | {bound} | {values[len(values) // 2]:.2f} | {values[-1]:.2f} |")
    lines += ["", "## The matrix", "", table()]
    if verdict.evidence:
        lines += ["## Evidence", "", *[f"- {one}" for one in verdict.evidence[:100]]]
    return "\n".join(lines)


def main() -> int:
    """Run all shares side by side and write the report; 1 if any counter is not 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=Path("docs/evidence/faults.md"))
    parser.add_argument("--lanes", default="1", help="of the compute source: 1 to 4")
    parser.add_argument("--share", type=int)
    arguments = parser.parse_args()
    os.environ[LANES] = arguments.lanes
    if arguments.share is not None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close the stage
        run_share(arguments.share, arguments.jobs, arguments.rounds, arguments.kills, arguments.seed)
        return 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tomaat-chaos-") as folder:
        said = [Path(folder, str(share)) for share in range(arguments.jobs)]
        shares = []
        for share, path in enumerate(said):
            with path.open("wb") as file:
                command = [sys.executable, "-m", "tests.chaos", *sys.argv[1:], "--share", str(share)]
                shares.append(subprocess.Popen(command, stdout=file))
        for process in shares:
            process.wait()
        lines = [line for path in said for line in path.read_text().splitlines()]
    findings = [json.loads(line) for line in lines if line.startswith("{")]
    text = report(findings, arguments, time.monotonic() - began)
    arguments.report.write_text(text)
    print("\n".join(text.splitlines()[:6]))
    return int("## Evidence" in text or any(process.returncode for process in shares))


if __name__ == "__main__":
    sys.exit(main())
