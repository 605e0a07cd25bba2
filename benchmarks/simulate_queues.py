"""Simulate queues with the very code that QueueManager chooses with: ``python3 benchmarks/simulate_queues.py``.

Compares, for tickets of mixed durations, the time until all have ended and the mean wait with list scheduling, which
knows no queues: each ticket, in order of arrival, starts on the machine that is free first (Graham, 1966).
"""

from __future__ import annotations

import heapq
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat.tickets.choosing import Queue, Waiting, assign, rebalance

OFFERS = frozenset({("Dummy", "1")})


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a simulation ended."""

    makespan: float
    mean_wait: float


def list_scheduling(arrivals: Sequence[float], durations: Sequence[float], machines: int) -> Outcome:
    """Start each ticket, in order, on the machine that is free first."""
    free = [0.0] * machines
    ends, waits = [], []
    for arrival, duration in zip(arrivals, durations, strict=True):
        start = max(arrival, free[0])
        heapq.heapreplace(free, start + duration)
        ends.append(start + duration)
        waits.append(start - arrival)
    return Outcome(makespan=max(ends), mean_wait=sum(waits) / len(waits))


class Simulation:
    """Queues in simulated time; ``known`` tells whether tasks say how long they take."""

    def __init__(self, arrivals: Sequence[float], durations: Sequence[float], *, machines: int, known: bool) -> None:
        self.arrivals = arrivals
        self.durations = durations
        self.known = known
        self.lines: dict[str, list[Waiting]] = {f"cpu-{number}": [] for number in range(machines)}
        self.until: dict[str, float | None] = dict.fromkeys(self.lines)
        self.waits: list[float] = []
        self.now = 0.0

    def run(self) -> Outcome:
        """Go from event to event: arrivals and ends."""
        events = [(arrival, number, "") for number, arrival in enumerate(self.arrivals)]
        heapq.heapify(events)
        while events:
            self.now, number, ended = heapq.heappop(events)
            if ended:
                self.until[ended] = None
            else:
                self._arrive(number)
            self._rebalance()
            for source in self.lines:
                if self.until[source] is None and self.lines[source]:
                    ticket = self.lines[source].pop(0).ticket
                    self.until[source] = self.now + self.durations[ticket]
                    self.waits.append(self.now - self.arrivals[ticket])
                    heapq.heappush(events, (self.now + self.durations[ticket], ticket, source))
        return Outcome(makespan=self.now, mean_wait=sum(self.waits) / len(self.waits))

    def _arrive(self, number: int) -> None:
        ticket = Waiting(
            ticket=number,
            order=number,
            service="Dummy",
            interface_hash="1",
            expected_seconds=self.durations[number] if self.known else None,
            source=None,
        )
        for move in assign([ticket], self._queues()):
            self._insert(ticket, move.to_source)

    def _rebalance(self) -> None:
        for move in rebalance(self._queues()):
            ticket = next(each for each in self.lines[str(move.from_source)] if each.ticket == move.ticket)
            self.lines[str(move.from_source)].remove(ticket)
            self._insert(ticket, move.to_source)

    def _insert(self, ticket: Waiting, source: str) -> None:
        self.lines[source].append(replace(ticket, source=source))
        self.lines[source].sort(key=lambda each: each.order)

    def _queues(self) -> list[Queue]:
        return [
            Queue(
                source=source,
                offers=OFFERS,
                waiting=tuple(line),
                running_left_seconds=self._left(source),
                durations={},
            )
            for source, line in self.lines.items()
        ]

    def _left(self, source: str) -> float | None:
        until = self.until[source]
        if until is None:
            return None
        return until - self.now if self.known else 0.5


def simulate(arrivals: Sequence[float], durations: Sequence[float], *, machines: int, known: bool) -> Outcome:
    """Run one simulation."""
    return Simulation(arrivals, durations, machines=machines, known=known).run()


def main() -> None:
    """Print a table of ratios."""
    print("| durations | known | end of all / list scheduling, worst of 20 | mean wait / list scheduling, mean of 20 |")
    print("| --- | --- | --- | --- |")
    for label, choices in (("0.1 to 2 s", [0.1, 0.2, 0.4, 1.0, 2.0]), ("1 or 30 s", [1.0, 30.0])):
        for known in (True, False):
            ends, waits = [], []
            for seed in range(20):
                generator = random.Random(seed)
                durations = [generator.choice(choices) for _ in range(200)]
                arrivals = sorted(generator.uniform(0, 5) for _ in durations)
                ours = simulate(arrivals, durations, machines=4, known=known)
                ideal = list_scheduling(arrivals, durations, 4)
                ends.append(ours.makespan / ideal.makespan)
                waits.append(ours.mean_wait / ideal.mean_wait)
            print(f"| {label} | {'yes' if known else 'no'} | {max(ends):.3f} | {sum(waits) / len(waits):.3f} |")


if __name__ == "__main__":
    main()
