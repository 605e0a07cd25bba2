"""Choose queues: where a submitted ticket waits least, and which tickets an idle compute source takes over.

Pure code: no SQL, no clock. QueueManager and the simulator in ``benchmarks/`` run this very code.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from tomaat.manager.turns import LastTurns, Turns
from tomaat.tickets.priorities import LAST_RANK, rank_of
from tomaat.tickets.queue import Placement, Queue, Share, Waiting

UNKNOWN_SECONDS = 1.0  #: of each ticket while no duration is known at all: then queues are compared by their counts
MOST_TAKEN = 50  #: tickets that one idle compute source takes over at once


class Expectations:
    """Tells how long tickets will take, from what all queues measured."""

    def __init__(self, queues: Sequence[Queue]) -> None:
        self.by_service = _means(known for queue in queues for known in queue.durations.items())
        self.mean = sum(self.by_service.values()) / len(self.by_service) if self.by_service else UNKNOWN_SECONDS
        self.load_seconds = _means(
            (service, need.load_seconds) for queue in queues for service, need in queue.needs.items()
        )

    def seconds(self, waiting: Waiting, queue: Queue) -> float:
        """Return a ticket's expected seconds: the task's own estimate, else the mean measured here, else elsewhere.

        A service that was measured nowhere counts as the mean of all services. While nothing was measured, each ticket
        counts one second: the shortest queue is the one with fewest tickets.
        """
        if waiting.expected_seconds is not None:
            return waiting.expected_seconds
        here = queue.durations.get(waiting.service)
        return here if here is not None else self.by_service.get(waiting.service, self.mean)

    def free(self, queue: Queue) -> list[float]:
        """Return the expected seconds until each lane of a queue is free of the tickets that it has now, ascending."""
        return self.free_by_rank(queue)[-1]

    def free_by_rank(self, queue: Queue) -> list[list[float]]:
        """Return the same of its tickets of rank 0 and below, of those and rank 1, and so on.

        Of tickets of which only the sum is known the lanes that are free first get as much as makes them equal.
        """
        free, found = queue.free, []
        if queue.queued_seconds is not None:
            for through in range(LAST_RANK + 1):
                behind = sum(part.seconds for part in queue.parts if rank_of(part.first) > through)
                seconds = max(0.0, queue.queued_seconds - behind)
                level = min((seconds + sum(free[:count])) / count for count in range(1, len(free) + 1))
                found.append([max(level, each) for each in free])
            return found
        for waiting in queue.waiting:
            while len(found) < rank_of(waiting.order):
                found.append(sorted(free))
            heapq.heapreplace(free, free[0] + waiting.loading_seconds + self.seconds(waiting, queue))
        return [*found, *(sorted(free) for _ in range(LAST_RANK + 1 - len(found)))]

    def loading(self, service: str, queue: Queue, warm: Collection[str]) -> float:
        """Return the expected seconds until a service's network is on the device where those of ``warm`` are.

        That is the mean measured there, else elsewhere; 0 while no loading was measured.
        """
        if service in warm:
            return 0.0
        here = queue.needs.get(service)
        return self.load_seconds.get(service, 0.0) if here is None else here.load_seconds


def _means(known: Iterable[tuple[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for service, seconds in known:
        values.setdefault(service, []).append(seconds)
    return {service: sum(each) / len(each) for service, each in values.items()}


class Prospect:
    """A queue as it grows while tickets are given to it."""

    def __init__(self, queue: Queue, expectations: Expectations, shares: Mapping[str, Share], given: LastTurns) -> None:
        self.queue = queue
        self.expectations = expectations
        self.turns = Turns(queue, shares, given)
        #: The seconds until each lane is free: of what is performed; of all before a rank, and of its own as well.
        before, *own = expectations.free_by_rank(queue)
        self.free = [queue.free, before]
        for free in own:
            self.free += [free, list(free)]
        self.free.pop()
        self.recent = list(queue.recent)
        self.warm = queue.warm(self.recent)

    def begins(self, waiting: Waiting) -> float:
        """Return the expected seconds until a ticket given to it now begins: tickets before it, its network's loading.

        This number never falls: a new ticket adds at least as much loading time as it saves the next one.
        """
        free = self.free[self._before(waiting)]
        return free[0] + self.expectations.loading(waiting.service, self.queue, self.warm)

    def _before(self, waiting: Waiting) -> int:
        """Tell which entry of ``free`` counts what is before a ticket.

        A ticket that is next in its rank has the higher ranks before it. Of the others all of their rank counts, also
        where some of those have later turns.
        """
        if waiting.order < 0:
            return 0
        return 2 * waiting.rank - self.turns.is_next(waiting)

    def take(self, waiting: Waiting) -> Placement:
        """Give it a ticket, with its turn and the seconds that its network needs to load.

        Each lane has a worker of its own, and so loads it once more: that keeps all of them.
        """
        loading = self.expectations.loading(waiting.service, self.queue, self.warm)
        seconds = self.expectations.seconds(waiting, self.queue)
        for entry in range(self._before(waiting), len(self.free)):
            self.free[entry] = [each + loading for each in self.free[entry]]
            heapq.heapreplace(self.free[entry], self.free[entry][0] + seconds)
        self.recent = [service for service in self.recent if service != waiting.service] + [waiting.service]
        self.warm = self.queue.warm(self.recent)
        return Placement(
            ticket=waiting.ticket,
            from_source=None,
            to_source=self.queue.source,
            loading_seconds=loading,
            order=self.turns.give(waiting, seconds),
        )


def assign(
    submitted: Sequence[Waiting],
    queues: Sequence[Queue],
    shares: Mapping[str, Share] | None = None,
    given: dict[str, LastTurns] | None = None,
) -> list[Placement]:
    """Give each submitted ticket, in order, to the queue that can run it and where it begins first.

    That is the shortest queue in expected seconds, with the loading of the ticket's network. Of equal queues the one
    with the first name is taken. There it gets its turn, by what the keys' ``shares`` are, and by the last turns that
    were ``given`` in each queue, which are noted there. A ticket that no queue can run stays where it is.
    """
    expectations = Expectations(queues)
    given = {} if given is None else given
    prospects = [Prospect(queue, expectations, shares or {}, given.setdefault(queue.source, {})) for queue in queues]
    able: dict[tuple[object, ...], list[tuple[float, str, Prospect]]] = {}
    known = {key for prospect in prospects for key in prospect.turns.keys}
    moves = []
    for waiting in sorted(submitted, key=lambda each: each.order):
        key = (
            *(waiting.service, waiting.interface_hash, waiting.outgrown_bytes),
            *(waiting.rank, waiting.came_back, waiting.order < 0),
            waiting.key if waiting.key in known else None,  # all that have no ticket anywhere are alike
        )
        if key not in able:
            able[key] = [
                (prospect.begins(waiting), prospect.queue.source, prospect)
                for prospect in prospects
                if prospect.queue.runs(waiting)
            ]
            heapq.heapify(able[key])
        first = _first(able[key], waiting)
        if first is not None:
            moves.append(first.take(waiting))
            known.add(waiting.key)
    return moves


def _first(heap: list[tuple[float, str, Prospect]], waiting: Waiting) -> Prospect | None:
    """Find where a ticket begins first. That time only grows, so an outdated entry is mended when it comes up."""
    while heap:
        begins, source, prospect = heap[0]
        if begins == prospect.begins(waiting):
            return prospect
        heapq.heapreplace(heap, (prospect.begins(waiting), source, prospect))
    return None


def rebalance(queues: Sequence[Queue], *, begins_now: Collection[int] = ()) -> list[Placement]:
    """Let each idle compute source take waiting tickets from longer queues.

    It leaves those that begin now, which their own source is about to start.

    It first takes the one that it can run of each queue's first tickets: of the highest priority, and of these the
    oldest, since turns of two queues do not compare. It leaves a ticket alone if loading its network here takes as long
    as the ticket would wait there, or longer. So no source is idle while it gains anything.

    It also takes every other later ticket of that queue, of those whose network is loaded by then. It stops at half of
    the queue's seconds, or at ``MOST_TAKEN`` tickets, so that it need not ask for each ticket of a long backlog.
    """
    expectations = Expectations(queues)
    busy = {
        queue.source: [waiting for waiting in queue.waiting if waiting.ticket not in begins_now]
        for queue in queues
        if not queue.idle
    }
    by_name = {queue.source: queue for queue in queues}
    moves: list[Placement] = []
    for idle in sorted((queue for queue in queues if queue.idle), key=lambda queue: queue.source):
        warm = idle.warm(idle.recent)
        fronts = [
            (rank_of(first.order), first.ticket, source, place)
            for source, line in busy.items()
            for place, first in _gaining(line, by_name[source], idle, warm, expectations)
        ]
        if not fronts:
            continue
        *_, source, place = min(fronts)
        line = busy[source]
        loading = expectations.loading(line[place].service, idle, warm)
        taken = _share(line, place, by_name[source], idle, expectations)
        chosen = {waiting.ticket for waiting in taken}
        busy[source] = [waiting for waiting in line if waiting.ticket not in chosen]
        moves += [
            Placement(
                ticket=each.ticket,
                from_source=source,
                to_source=idle.source,
                loading_seconds=loading if each is line[place] else 0.0,
            )
            for each in taken
        ]
    return moves


def _gaining(
    line: Sequence[Waiting], queue: Queue, idle: Queue, warm: Collection[str], expectations: Expectations
) -> Iterator[tuple[int, Waiting]]:
    """Find the first ticket of a line, if any, that ``idle`` can run at once, or sooner than ``queue``."""
    free = queue.free
    for place, waiting in enumerate(line):
        begins = free[0] + waiting.loading_seconds
        loading = expectations.loading(waiting.service, idle, warm)
        if idle.runs(waiting) and (not loading or loading < begins):
            yield place, waiting
            return
        heapq.heapreplace(free, begins + expectations.seconds(waiting, queue))


def _share(line: Sequence[Waiting], place: int, queue: Queue, idle: Queue, expectations: Expectations) -> list[Waiting]:
    """Choose the ticket at ``place`` and every second one after it that needs no loading, up to half of the seconds."""
    taken = [line[place]]
    warm = idle.warm([*idle.recent, line[place].service])
    rest = [
        each for each in line[place + 1 :] if idle.runs(each) and not expectations.loading(each.service, idle, warm)
    ]
    half = sum(waiting.loading_seconds + expectations.seconds(waiting, queue) for waiting in line) / 2
    seconds = expectations.seconds(taken[0], idle)
    for waiting in rest[1::2]:
        seconds += expectations.seconds(waiting, idle)
        if seconds > half or len(taken) == MOST_TAKEN:
            break
        taken.append(waiting)
    return taken
