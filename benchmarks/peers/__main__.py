"""This service beside Celery + Redis and procrastinate, in one go: ``make benchmark-peers``.

``ARGS="latency ct"`` chooses sections, ``--alone`` leaves the peers out, ``--scale 0.1`` makes a tenth of the tickets.
``--web-processes 4 --clients 64`` is for a machine with many cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable

from benchmarks.peers import comparison
from benchmarks.peers.comparison import Figure
from benchmarks.peers.idle import idle
from benchmarks.peers.stacks import Stack, all_stacks
from benchmarks.peers.statements import statements
from benchmarks.peers.waiting import waiting
from tomaat.processes.log import configure_logging

COMPARED: dict[str, Callable[[list[Stack], float], list[Figure]]] = {
    "latency": comparison.latency,
    "clients": comparison.clients,
    "backlog": comparison.backlog,
    "volume": comparison.volume,
    "ct": comparison.ct,
    "warm": comparison.warm,
}  #: in all stacks
ALONE: dict[str, Callable[[float], None]] = {"statements": statements, "idle": idle, "waiting": waiting}


def compare(sections: list[str], *, alone: bool, scale: float, web_processes: int) -> None:
    """Print a line of the table as soon as it is known."""
    with all_stacks(alone=alone, web_processes=web_processes) as stacks:
        names = [stack.name for stack in stacks]
        print(f"| | {' | '.join(names)} | the best peer's ÷ ours |\n|{' --- |' * (len(names) + 2)}")
        for section in sections:
            began = time.monotonic()
            for figure in COMPARED[section](stacks, scale):
                print(line(figure, names), flush=True)
            say_seconds(section, began)


def line(figure: Figure, names: list[str]) -> str:
    """Write a line; its last column is above 1 where less is better and this service has less."""
    cells = [f"{number(figure.values[name])}{f' ({figure.shown[name]})' if figure.shown else ''}" for name in names]
    ours, *peers = (figure.values[name] for name in names)
    best = (max if figure.more_is_better else min)(peers, default=ours)
    unit = f", {figure.unit}" if figure.unit else ""
    better = " (less is better)" if figure.more_is_better else ""
    return f"| {figure.what}{unit} | {' | '.join(cells)} | {best / ours:.2f}{better} |"


def number(value: float) -> str:
    """Write a figure with three digits or so."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def say_seconds(section: str, began: float) -> None:
    """Tell how long a section took, beside the table."""
    print(f"{section}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join([*COMPARED, *ALONE])}")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of tickets and turns")
    parser.add_argument("--clients", type=int, default=comparison.CLIENTS, help="that ask at once")
    parser.add_argument("--web-processes", type=int, default=1, help="of this service")
    arguments = parser.parse_args()
    comparison.CLIENTS = arguments.clients
    sections = arguments.sections or [*COMPARED, *ALONE]
    if unknown := set(sections) - {*COMPARED, *ALONE}:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    configure_logging("benchmarks", "text", "warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all that was started is ended
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} before\n")
    compared = [section for section in sections if section in COMPARED]
    if compared:
        compare(compared, alone=arguments.alone, scale=arguments.scale, web_processes=arguments.web_processes)
    for section in sections:
        if section in ALONE:
            began = time.monotonic()
            print()
            ALONE[section](arguments.scale)
            say_seconds(section, began)


if __name__ == "__main__":
    main()
