"""Simulate queues with the very code that QueueManager chooses with: ``python3 -m benchmarks.simulate_queues``.

Compares, for tickets of mixed durations, the time until all have ended and the mean wait with list scheduling, which
knows no queues: each ticket, in order of arrival, starts on the machine that is free first (Graham, 1966). Then, for
services whose networks take turns in the machines' memory, both with what they are where loading is not counted. Last,
how long a single ticket waits beside a cohort of another key, and what turns cost all of them together.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tomaat.devices.need import Need
from tomaat.manager.choosing import assign, rebalance
from tomaat.manager.turns import LastTurns
from tomaat.tickets.priorities import NORMAL, RANKS
from tomaat.tickets.queue import NOBODY, Placement, Queue, Share, Waiting

NETWORK = 1  #: size of each network, in the unit of the machines' memory


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a simulation ended."""

    makespan: float
    mean_wait: float
    loadings: int = 0
    waits: dict[int, float] = field(default_factory=dict)  #: of each ticket
    order: list[int] = field(default_factory=list)  #: of the tickets, as they began


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Networks of several services that take turns in the machines' memory."""

    services: Sequence[str]  #: of each ticket
    seconds: float  #: that a network takes to load
    fit: int  #: networks that a machine's memory holds
    counted: bool  #: whether the choosing is told


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Who sends the tickets, with which priorities."""

    names: Sequence[str] = ()  #: of each ticket; empty: all of one key
    ranks: Sequence[int] = ()  #: of each ticket; empty: normal
    shares: Mapping[str, Share] = field(default_factory=dict)


ONE_KEY = Keys()
NONE = Loading(services=(), seconds=0.0, fit=1, counted=False)


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

    def __init__(
        self,
        arrivals: Sequence[float],
        durations: Sequence[float],
        *,
        machines: int,
        known: bool,
        loading: Loading,
        lanes: int,
        keys: Keys,
    ) -> None:
        self.lanes = lanes
        self.keys = keys
        self.arrivals = arrivals
        self.durations = durations
        self.known = known
        self.loading = loading
        self.services = loading.services or ["Dummy"] * len(durations)
        self.warm: dict[str, list[str]] = {f"cpu-{number}": [] for number in range(machines)}
        self.loadings = 0
        self.lines: dict[str, list[Waiting]] = {f"cpu-{number}": [] for number in range(machines)}
        self.given: dict[str, LastTurns] = {}
        self.until: dict[str, list[float]] = {source: [] for source in self.lines}  #: when each lane that performs ends
        self.waits: dict[int, float] = {}
        self.now = 0.0

    def run(self) -> Outcome:
        """Go from event to event: arrivals and ends."""
        events = [(arrival, number, "", 0.0) for number, arrival in enumerate(self.arrivals)]
        heapq.heapify(events)
        while events:
            self.now, number, ended, until = heapq.heappop(events)
            if ended:
                self.until[ended].remove(until)
            else:
                self._arrive(number)
            self._rebalance()
            for source in self.lines:
                while len(self.until[source]) < self.lanes and self.lines[source]:
                    ticket = self.lines[source].pop(0).ticket
                    begins = self.now + self._load(source, self.services[ticket])
                    ends = begins + self.durations[ticket]
                    self.until[source].append(ends)
                    self.waits[ticket] = begins - self.arrivals[ticket]
                    heapq.heappush(events, (ends, ticket, source, ends))
        return Outcome(
            makespan=self.now,
            mean_wait=sum(self.waits.values()) / len(self.waits),
            loadings=self.loadings,
            waits=self.waits,
            order=list(self.waits),
        )

    def _key(self, number: int) -> str:
        return self.keys.names[number] if self.keys.names else NOBODY

    def _load(self, source: str, service: str) -> float:
        """Load a network where it is not warm; the least recently used one goes. Returns the seconds it takes."""
        cold = service not in self.warm[source]
        kept = [each for each in self.warm[source] if each != service]
        self.warm[source] = [*kept, service][-self.loading.fit :]
        self.loadings += cold
        return self.loading.seconds if cold else 0.0

    def _arrive(self, number: int) -> None:
        ticket = Waiting(
            ticket=number,
            order=number,
            service=self.services[number],
            interface_hash="1",
            expected_seconds=self.durations[number] if self.known else None,
            source=None,
            key=self._key(number),
            rank=self.keys.ranks[number] if self.keys.ranks else RANKS[NORMAL],
        )
        for move in assign([ticket], self._queues(), self.keys.shares, self.given):
            self._insert(ticket, move)

    def _rebalance(self) -> None:
        if not any(len(self.until[source]) < self.lanes and not line for source, line in self.lines.items()):
            return
        for move in rebalance(self._queues()):
            ticket = next(each for each in self.lines[str(move.from_source)] if each.ticket == move.ticket)
            self.lines[str(move.from_source)].remove(ticket)
            self._insert(ticket, move)

    def _insert(self, ticket: Waiting, move: Placement) -> None:
        line = self.lines[move.to_source]
        order = ticket.order if move.order is None else move.order
        line.append(replace(ticket, source=move.to_source, loading_seconds=move.loading_seconds, order=order))
        line.sort(key=lambda each: each.order)

    def _queues(self) -> list[Queue]:
        services = set(self.services)
        need = Need(network_bytes=NETWORK, peak_bytes=NETWORK, load_seconds=self.loading.seconds)
        return [
            Queue(
                source=source,
                offers=frozenset((service, "1") for service in services),
                waiting=tuple(line),
                durations={},
                performed=tuple(until - self.now if self.known else 0.5 for until in self.until[source]),
                lanes=self.lanes,
                recent=last_used([*self.warm[source], *(each.service for each in line)]),
                needs=dict.fromkeys(services, need) if self.loading.counted else {},
                memory_bytes=NETWORK * self.loading.fit,
            )
            for source, line in self.lines.items()
        ]


def last_used(services: Sequence[str]) -> tuple[str, ...]:
    """Name each service once, where it is used last."""
    return tuple(dict.fromkeys(reversed(services)))[::-1]


def simulate(
    arrivals: Sequence[float],
    durations: Sequence[float],
    *,
    machines: int,
    known: bool,
    loading: Loading = NONE,
    lanes: int = 1,
    keys: Keys = ONE_KEY,
) -> Outcome:
    """Run one simulation; each machine runs as many tickets side by side as it has ``lanes``."""
    return Simulation(
        arrivals, durations, machines=machines, known=known, loading=loading, lanes=lanes, keys=keys
    ).run()


def main() -> None:
    """Print the tables."""
    compare_with_list_scheduling(machines=4, lanes=1)
    compare_with_list_scheduling(machines=2, lanes=4)
    compare_loading()
    compare_turns()


def compare_turns() -> None:
    """Print how long single tickets of other keys wait beside a cohort of 1,000, with turns and in order of arrival."""
    print("| sources | single, in order of arrival | single, by turns | the longest ticket | end of all, ratio |")
    print("| --- | --- | --- | --- | --- |")
    for machines in (1, 2, 4):
        generator = random.Random(machines)
        durations = [generator.choice([5.0, 10.0, 20.0]) for _ in range(1010)]
        arrivals = [0.0] * 1000 + [generator.uniform(0, 50) + 100 * number for number in range(10)]
        names = ["cohort"] * 1000 + [f"single-{number}" for number in range(10)]
        by_turns, by_arrival = (
            simulate(arrivals, durations, machines=machines, known=True, keys=keys)
            for keys in (Keys(names=names), ONE_KEY)
        )
        alone, beside = (max(each.waits[single] for single in range(1000, 1010)) for each in (by_arrival, by_turns))
        ratio = by_turns.makespan / by_arrival.makespan
        print(f"| {machines} | {alone:.1f} s | {beside:.1f} s | {max(durations):g} s | {ratio:.3f} |")


def compare_loading() -> None:
    """Print what counting the loading of networks gains: 200 tickets of 5 s, 20 s to load, draws as many as 20."""
    print("| services | sources | networks that fit | all within | end of all | mean wait | loadings |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for services, machines, fit in (("AB", 1, 1), ("AB", 2, 1), ("AB", 4, 1), ("ABC", 2, 1), ("ABC", 2, 2)):
        for within in (5.0, 600.0):
            ratios = []
            for seed in range(20):
                generator = random.Random(seed)
                arrivals = sorted(generator.uniform(0, within) for _ in range(200))
                asked = [generator.choice(services) for _ in arrivals]
                counted, not_counted = (
                    simulate(
                        arrivals,
                        [5.0] * len(arrivals),
                        machines=machines,
                        known=True,
                        loading=Loading(services=asked, seconds=20.0, fit=fit, counted=counted),
                    )
                    for counted in (True, False)
                )
                ratios.append(
                    (
                        counted.makespan / not_counted.makespan,
                        counted.mean_wait / not_counted.mean_wait,
                        counted.loadings / not_counted.loadings,
                    )
                )
            means = " | ".join(f"{sum(each) / len(each):.2f}" for each in zip(*ratios, strict=True))
            print(f"| {len(services)} | {machines} | {fit} | {within:g} s | {means} |")


def compare_with_list_scheduling(*, machines: int, lanes: int) -> None:
    """Print a table of ratios; a lane is for list scheduling a machine."""
    print(f"{machines} sources of {lanes} lanes")
    print("| durations | known | end of all / list scheduling, worst of 20 | mean wait / list scheduling, mean of 20 |")
    print("| --- | --- | --- | --- |")
    for label, choices in (("0.1 to 2 s", [0.1, 0.2, 0.4, 1.0, 2.0]), ("1 or 30 s", [1.0, 30.0])):
        for known in (True, False):
            ends, waits = [], []
            for seed in range(20):
                generator = random.Random(seed)
                durations = [generator.choice(choices) for _ in range(200)]
                arrivals = sorted(generator.uniform(0, 5) for _ in durations)
                ours = simulate(arrivals, durations, machines=machines, known=known, lanes=lanes)
                ideal = list_scheduling(arrivals, durations, machines * lanes)
                ends.append(ours.makespan / ideal.makespan)
                waits.append(ours.mean_wait / ideal.mean_wait)
            print(f"| {label} | {'yes' if known else 'no'} | {max(ends):.3f} | {sum(waits) / len(waits):.3f} |")


if __name__ == "__main__":
    main()
