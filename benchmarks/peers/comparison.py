"""The same work through this service and through its peers, in turns, so that other load hits all alike."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.client import Client, from_clients
from benchmarks.peers import work
from benchmarks.peers.stacks import Stack, processor_seconds
from benchmarks.peers.tasks import ORGANS
from benchmarks.scans import ct_voxels, middle_voxels, packed
from tests.service import payload

T = TypeVar("T")
CLIENTS = 16
DIRECT = "directly"
NUMBERS = {"f1": 2.5, "f2": 4.0, "op": "add"}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table: a value of each stack."""

    what: str
    unit: str
    values: Mapping[str, float]
    more_is_better: bool = False
    shown: Mapping[str, str] | None = None  #: beside each value


def in_turns(contenders: Mapping[str, Callable[[], T]], turns: int) -> dict[str, list[T]]:
    """Let each contender act once in each turn, every other turn in the opposite order."""
    gathered: dict[str, list[T]] = {name: [] for name in contenders}
    for turn in range(turns):
        for name in list(contenders)[:: -1 if turn % 2 else 1]:
            gathered[name].append(contenders[name]())
    return gathered


def latency(stacks: list[Stack], scale: float) -> list[Figure]:
    """One client with one ticket after the other, and what a ticket takes of the processor."""
    tickets = max(2, round(25 * scale))
    data = payload(NUMBERS)

    def tickets_of(stack: Stack) -> tuple[list[float], float]:
        with closing(Client(stack.url)) as client:
            client.ticket("FloatComputation", data)
            before = processor_seconds(stack.roots())
            seconds = [timed(lambda: client.ticket("FloatComputation", data)) for _ in range(tickets)]
            return seconds, processor_seconds(stack.roots()) - before

    seen = in_turns(_each(stacks, tickets_of), 4)
    medians = {
        name: 1000 * statistics.median(chain.from_iterable(one for one, _ in turns)) for name, turns in seen.items()
    }
    used = {name: 1000 * sum(one for _, one in turns) / (4 * tickets) for name, turns in seen.items()}
    return [
        Figure(what="one small ticket, one client, median", unit="ms", values=medians),
        Figure(what="processor time of one ticket, one client", unit="ms", values=used),
    ]


def clients(stacks: list[Stack], scale: float) -> list[Figure]:
    """16 clients, each with one ticket after the other."""
    tickets = max(CLIENTS, round(320 * scale))
    data = payload(NUMBERS)

    def tickets_of(stack: Stack) -> tuple[float, float]:
        before = processor_seconds(stack.roots())
        seconds = from_clients(stack.url, CLIENTS, tickets, lambda client: client.ticket("FloatComputation", data))
        return seconds, processor_seconds(stack.roots()) - before

    seen = in_turns(_each(stacks, tickets_of), 4)
    rates = {name: 4 * tickets / sum(seconds for seconds, _ in turns) for name, turns in seen.items()}
    used = {name: 1000 * sum(one for _, one in turns) / (4 * tickets) for name, turns in seen.items()}
    return [
        Figure(what=f"{CLIENTS} clients", unit="tickets/s", values=rates, more_is_better=True),
        Figure(what=f"processor time of one ticket, {CLIENTS} clients", unit="ms", values=used),
    ]


def backlog(stacks: list[Stack], scale: float) -> list[Figure]:
    """Many tickets that are submitted while nobody works, and drain then."""
    tickets = max(CLIENTS, round(5000 * scale))
    data = payload(NUMBERS)

    def rates_of(stack: Stack) -> tuple[float, float]:
        stack.stop_worker()
        seconds = from_clients(stack.url, CLIENTS, tickets, lambda client: client.submit("FloatComputation", data))
        stack.start_worker()
        return tickets / seconds, (tickets - 1) / stack.drained(tickets)

    seen = in_turns(_each(stacks, rates_of), 2)
    submitted, drained = (
        {name: statistics.mean(one[which] for one in turns) for name, turns in seen.items()} for which in (0, 1)
    )
    what = f"a backlog of {tickets:,}"
    return [
        Figure(what=f"{what}, submitted by {CLIENTS} clients", unit="tickets/s", values=submitted, more_is_better=True),
        Figure(what=f"{what}, drained", unit="tickets/s", values=drained, more_is_better=True),
    ]


def volume(stacks: list[Stack], scale: float) -> list[Figure]:
    """Smooth a volume of 26 MB."""
    files = {"volume": packed(middle_voxels())}
    what, inputs = "a volume of 26 MB, smoothed", {"sigma": 1.0}
    return [_beside_direct(what, stacks, 3 * scale, service="GaussianSmoothing", inputs=inputs, files=files)]


def ct(stacks: list[Stack], scale: float) -> list[Figure]:
    """Mark organs in a CT of 157 MB."""
    files = {"scan": packed(ct_voxels(), (0.8, 0.8, 1.0))}
    what = f"a CT of 512 x 512 x 300, {ORGANS} labels"
    return [_beside_direct(what, stacks, 3 * scale, service="Mark", inputs={}, files=files)]


def warm(stacks: list[Stack], scale: float) -> list[Figure]:
    """Run a network that is loaded, and needs nothing read."""
    return [_beside_direct("a warm network", stacks, 20 * scale, service="Warm", inputs={"number": 1.0}, files={})]


def _beside_direct(
    what: str, stacks: list[Stack], turns: float, *, service: str, inputs: dict[str, Any], files: dict[str, bytes]
) -> Figure:
    """Let each stack do what a direct call does: read with SimpleITK, perform, write ``.nii.gz``."""
    data = payload(inputs, **{f"{name}_nii_gz": each for name, each in files.items()})

    def through(stack: Stack) -> float:
        with closing(Client(stack.url)) as client:
            return timed(lambda: client.ticket(service, data))

    with tempfile.TemporaryDirectory(prefix="tomaat-benchmark-") as name:
        paths = {each: Path(name) / f"{each}.nii.gz" for each in files}
        for each, path in paths.items():
            path.write_bytes(files[each])
        contenders = _each(stacks, through)
        contenders[DIRECT] = lambda: timed(lambda: work.perform(service, inputs, paths, Path(name)))
        in_turns(contenders, 1)  # the first of each loads the task
        seen = in_turns(contenders, max(1, round(turns)))
    seconds = {each: statistics.median(one) for each, one in seen.items()}
    direct = seconds.pop(DIRECT)
    return Figure(
        what=f"{what} ÷ called directly ({_seconds(direct)})",
        unit="",
        values={each: one / direct for each, one in seconds.items()},
        shown={each: _seconds(one) for each, one in seconds.items()},
    )


def timed(act: Callable[[], object]) -> float:
    """Tell how many seconds it takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _each(stacks: list[Stack], act: Callable[[Stack], T]) -> dict[str, Callable[[], T]]:
    return {stack.name: partial(act, stack) for stack in stacks}


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
