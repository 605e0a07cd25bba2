"""Choose queues: where a submitted ticket waits least, and what an idle compute source takes over.

Pure code: no SQL, no clock. QueueManager and the simulator in ``benchmarks/`` run this very code.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNKNOWN_SECONDS = 1.0  #: of each ticket while no duration is known at all: then queues are compared by their counts
MOST_TAKEN = 50  #: tickets that one idle compute source takes over at once


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A ticket that waits: for a queue (``source`` is ``None``) or in one."""

    ticket: int
    order: int
    service: str
    interface_hash: str
    expected_seconds: float | None  #: the task's own estimate
    source: str | None


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A live compute source and what waits for it, in order."""

    source: str
    offers: frozenset[tuple[str, str]]  #: (service, interface hash)
    waiting: tuple[Waiting, ...]
    running_left_seconds: float | None  #: expected seconds of what it is busy with; ``None``: idle
    durations: Mapping[str, float]  #: measured mean seconds of each service here

    def runs(self, waiting: Waiting) -> bool:
        """Tell whether the source offers the very interface that a ticket was checked against."""
        return (waiting.service, waiting.interface_hash) in self.offers


@dataclass(frozen=True, kw_only=True)
class Move:
    """A ticket goes from a queue, or from none, to another."""

    ticket: int
    from_source: str | None
    to_source: str


class Expectations:
    """How long tickets will take, by all that was measured on all queues."""

    def __init__(self, queues: Sequence[Queue]) -> None:
        elsewhere: dict[str, list[float]] = {}
        for queue in queues:
            for service, seconds in queue.durations.items():
                elsewhere.setdefault(service, []).append(seconds)
        self.by_service = {service: sum(known) / len(known) for service, known in elsewhere.items()}
        self.mean = sum(self.by_service.values()) / len(self.by_service) if self.by_service else UNKNOWN_SECONDS

    def seconds(self, waiting: Waiting, queue: Queue) -> float:
        """Expect the task's own estimate, else what was measured here, else elsewhere, else the mean of all.

        While nothing was measured, each ticket counts one second: the shortest queue is the one with fewest tickets.
        """
        if waiting.expected_seconds is not None:
            return waiting.expected_seconds
        here = queue.durations.get(waiting.service)
        return here if here is not None else self.by_service.get(waiting.service, self.mean)

    def load(self, queue: Queue) -> float:
        """Expect the seconds until a queue is through with what it has."""
        return (queue.running_left_seconds or 0.0) + sum(self.seconds(waiting, queue) for waiting in queue.waiting)


def assign(submitted: Sequence[Waiting], queues: Sequence[Queue]) -> list[Move]:
    """Give each submitted ticket, in order, to the queue that is shortest in expected seconds and can run it.

    Equal queues: the one with the first name. A ticket that no queue can run stays where it is.
    """
    expectations = Expectations(queues)
    loads = {queue.source: expectations.load(queue) for queue in queues}
    able: dict[tuple[str, str], list[tuple[float, str, Queue]]] = {}
    moves = []
    for waiting in sorted(submitted, key=lambda each: each.order):
        key = (waiting.service, waiting.interface_hash)
        if key not in able:
            able[key] = [(loads[queue.source], queue.source, queue) for queue in queues if queue.runs(waiting)]
            heapq.heapify(able[key])
        shortest = _shortest(able[key], loads)
        if shortest is None:
            continue
        loads[shortest.source] += expectations.seconds(waiting, shortest)
        moves.append(Move(ticket=waiting.ticket, from_source=None, to_source=shortest.source))
    return moves


def _shortest(heap: list[tuple[float, str, Queue]], loads: Mapping[str, float]) -> Queue | None:
    """Find a heap's shortest queue; loads only grow, so an outdated entry is put right when it comes up."""
    while heap:
        load, source, queue = heap[0]
        if load == loads[source]:
            return queue
        heapq.heapreplace(heap, (loads[source], source, queue))
    return None


def rebalance(queues: Sequence[Queue]) -> list[Move]:
    """Let each idle compute source take waiting tickets from longer queues, oldest first.

    The first that it takes is the oldest waiting ticket of all that it can run, as in list scheduling: no source is
    idle while it could run what waits behind another. From the queue that this one left it also takes every second
    of the following, up to half of that queue's waiting seconds and ``MOST_TAKEN``, so that a source that comes to
    a long backlog need not ask for each ticket.
    """
    expectations = Expectations(queues)
    busy = {queue.source: list(queue.waiting) for queue in queues if not _idle(queue)}
    by_name = {queue.source: queue for queue in queues}
    moves: list[Move] = []
    for idle in sorted((queue for queue in queues if _idle(queue)), key=lambda queue: queue.source):
        fronts = [
            (waiting.order, source)
            for source, line in busy.items()
            for waiting in [next((each for each in line if idle.runs(each)), None)]
            if waiting is not None
        ]
        if not fronts:
            continue
        _, source = min(fronts)
        taken = _share(busy[source], by_name[source], idle, expectations)
        chosen = {waiting.ticket for waiting in taken}
        busy[source] = [waiting for waiting in busy[source] if waiting.ticket not in chosen]
        moves += [Move(ticket=each.ticket, from_source=source, to_source=idle.source) for each in taken]
    return moves


def _idle(queue: Queue) -> bool:
    return queue.running_left_seconds is None and not queue.waiting


def _share(line: Sequence[Waiting], queue: Queue, idle: Queue, expectations: Expectations) -> list[Waiting]:
    """Choose the oldest ticket that ``idle`` can run and every second one after it, up to half of the seconds."""
    runnable = [waiting for waiting in line if idle.runs(waiting)]
    half = sum(expectations.seconds(waiting, queue) for waiting in line) / 2
    taken = runnable[:1]
    seconds = expectations.seconds(taken[0], idle)
    for waiting in runnable[2::2]:
        seconds += expectations.seconds(waiting, idle)
        if seconds > half or len(taken) == MOST_TAKEN:
            break
        taken.append(waiting)
    return taken
