"""Give tickets their turns in a queue, so that keys take turns however many tickets each of them sends.

Pure code: no SQL, no clock. A turn is a number of milliseconds that has a meaning only beside others of its queue. Each
further ticket of a key has its turn later than the one before by its own expected time, divided by the key's weight. A
key without a ticket in the queue begins where the queue stands. So tickets of two keys alternate, as in fair queueing
of packets (Goyal, Vin and Cheng, 1996).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tomaat.tickets.priorities import order_of, rank_of, turn_of
from tomaat.tickets.queue import Queue, Share, Waiting

SHORTEST_STEP = 2  #: milliseconds; turns of those who wait longer are even
CATCHING_UP = 2  #: times as many turns has a key, as long as it used less lately than the others that wait
NO_SHARE = Share()


class Turns:
    """The turns in one queue as it grows."""

    def __init__(self, queue: Queue, shares: Mapping[str, Share]) -> None:
        self.shares = shares
        self.held = queue.held
        self.lowest: dict[int, int] = {}  #: turn, by rank
        self.last: dict[int, dict[str, int]] = {}  #: turn of each key's last ticket, by rank
        first = {rank_of(each.order): each.order for each in reversed(queue.waiting)}
        last = {(rank_of(each.order), each.key): each.order for each in queue.waiting}
        spans = [(key, first[rank], order) for (rank, key), order in last.items()]
        for key, lowest, highest in (*spans, *((part.key, part.first, part.last) for part in queue.parts)):
            if rank_of(lowest) > 0:
                self._note(rank_of(lowest), key, turn_of(lowest), turn_of(highest))

    @property
    def keys(self) -> set[str]:
        """The keys that have tickets here."""
        return {*self.held, *(key for of_rank in self.last.values() for key in of_rank)}

    def is_next(self, waiting: Waiting) -> bool:
        """Tell whether a ticket would go before all that wait in its rank, or take turns with those in front."""
        if waiting.came_back:
            return True
        waits = self.last.get(waiting.rank, {})
        return waiting.key not in waits and not self._holds_more(waiting.key, waits)

    def give(self, waiting: Waiting, seconds: float) -> int:
        """Give a ticket its turn; return its place among those that wait. ``seconds`` are those that it will take."""
        if waiting.order < 0:
            return waiting.order  # an operator moved it to the front
        rank, key = waiting.rank, waiting.key
        lowest = self.lowest.get(rank)
        if lowest is None:
            turn = 0
        elif self.is_next(waiting):
            turn = lowest if lowest % 2 else lowest - 1  # one behind the other, before the next even one
        else:
            turn = self.last[rank].get(key, lowest) + self._step(rank, key, seconds)
            turn += turn % 2
        self._note(rank, key, turn, turn)
        return order_of(rank, turn, waiting.ticket)

    def _note(self, rank: int, key: str, first: int, last: int) -> None:
        self.lowest[rank] = min(first, self.lowest.get(rank, first))
        of_rank = self.last.setdefault(rank, {})
        of_rank[key] = max(last, of_rank.get(key, last))

    def _share(self, key: str) -> Share:
        return self.shares.get(key, NO_SHARE)

    def _holds_more(self, key: str, others: Iterable[str]) -> bool:
        """Tell whether a key has more lanes for its weight than one of the others that wait."""
        held = self.held.get(key, 0) / self._share(key).weight
        return any(self.held.get(other, 0) / self._share(other).weight < held for other in others)

    def _step(self, rank: int, key: str, seconds: float) -> int:
        """Tell how much later than the key's last turn the next one is."""
        step = 1000 * seconds / self._share(key).weight
        if self._lags(rank, key):
            step /= CATCHING_UP
        return max(SHORTEST_STEP, round(step))

    def _lags(self, rank: int, key: str) -> bool:
        """Tell whether a key used less lately than the others that wait, also once its own waiting ones have run."""
        others = [self._used(rank, other) for other in self.last[rank] if other != key]
        ahead = (self.last[rank].get(key, self.lowest[rank]) - self.lowest[rank]) / 1000
        return bool(others) and self._used(rank, key) + ahead < min(others)

    def _used(self, rank: int, key: str) -> float:
        share = self._share(key)
        return share.used_seconds.get(rank, 0.0) / share.weight
