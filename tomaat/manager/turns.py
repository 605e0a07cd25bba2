"""Give tickets their turns in a queue, so that keys take turns however many tickets each of them sends.

Pure code: no SQL, no clock. A turn is a number of milliseconds that has a meaning only beside others of its queue. Each
ticket of a key has its turn where the one before it ends: later by that one's expected time, divided by the key's
weight. A key whose last one ended before begins where the queue stands. So tickets of two keys alternate, as in fair
queueing of packets (Goyal, Vin and Cheng, 1996).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from tomaat.tickets.priorities import order_of, rank_of, turn_of
from tomaat.tickets.queue import Queue, Share, Waiting

FIRST = -1  #: where nothing waits; turns of those that are next are odd, all others even
SHORTEST_STEP = 2  #: milliseconds
CATCHING_UP = 2  #: times as many turns has a key, as long as it used less lately than the others that wait
NO_SHARE = Share()


class LastTurn(NamedTuple):
    """The turn that a key's last ticket got, and the one where it ends."""

    turn: int
    end: int


LastTurns: TypeAlias = dict[tuple[int, str], LastTurn]  #: in one queue, by rank and key


class Turns:
    """The turns in one queue as it grows.

    It notes in ``given`` each key's last turn, and forgets there what no longer matters. Kept until the queue is read
    again, that holds a key to its turns whose ticket is claimed before it sends the next one.
    """

    def __init__(self, queue: Queue, shares: Mapping[str, Share], given: LastTurns) -> None:
        self.shares = shares
        self.given = given
        self.lowest: dict[int, int] = {}  #: turn, by rank
        self.last: dict[int, dict[str, int]] = {}  #: turn of each key's last ticket, by rank
        first = {rank_of(each.order): each.order for each in reversed(queue.waiting)}
        last = {(rank_of(each.order), each.key): each.order for each in queue.waiting}
        spans = [(key, first[rank], order) for (rank, key), order in last.items()]
        for key, lowest, highest in (*spans, *((part.key, part.first, part.last) for part in queue.parts)):
            if rank_of(lowest) > 0:
                self._note(rank_of(lowest), key, turn_of(lowest), turn_of(highest))
        for (rank, key), (_, end) in list(given.items()):
            if key not in self.last.get(rank, {}) and end <= self.lowest.get(rank, end):
                del given[rank, key]

    @property
    def keys(self) -> set[str]:
        """The keys that are not simply next here: they have tickets that wait, or had one just now."""
        return {key for _, key in self.given} | {key for of_rank in self.last.values() for key in of_rank}

    def is_next(self, waiting: Waiting) -> bool:
        """Tell whether a ticket would go before all that wait in its rank, or take turns with those in front."""
        if waiting.came_back:
            return True
        if waiting.key in self.last.get(waiting.rank, {}):
            return False
        former = self.given.get((waiting.rank, waiting.key))
        return former is None or former.end <= self.lowest[waiting.rank]

    def give(self, waiting: Waiting, seconds: float) -> int:
        """Give a ticket its turn; return its place among those that wait. ``seconds`` are those that it will take."""
        if waiting.order < 0:
            return waiting.order  # an operator moved it to the front
        rank, key = waiting.rank, waiting.key
        lowest = self.lowest.get(rank)
        if lowest is None:
            turn = FIRST
        elif self.is_next(waiting):
            turn = lowest if lowest % 2 else lowest - 1  # one behind the other, before the next even one
        else:
            turn = self._end(rank, key, lowest, seconds)
            turn += turn % 2
        self._note(rank, key, turn, turn)
        if not waiting.came_back:
            self.given[rank, key] = LastTurn(turn, turn + self._step(rank, key, seconds))
        return order_of(rank, turn, waiting.ticket)

    def _end(self, rank: int, key: str, lowest: int, seconds: float) -> int:
        """Tell where a key's last ticket ends; one that waits and was not noted counts as long as the new one.

        Of a key whose later tickets went elsewhere or were cancelled, only the last one's length counts.
        """
        last, former = self.last[rank].get(key, lowest), self.given.get((rank, key))
        if former is None or (key in self.last[rank] and former.turn < last):
            return last + self._step(rank, key, seconds)
        return former.end - max(0, former.turn - last)

    def _note(self, rank: int, key: str, first: int, last: int) -> None:
        self.lowest[rank] = min(first, self.lowest.get(rank, first))
        of_rank = self.last.setdefault(rank, {})
        of_rank[key] = max(last, of_rank.get(key, last))

    def _share(self, key: str) -> Share:
        return self.shares.get(key, NO_SHARE)

    def _step(self, rank: int, key: str, seconds: float) -> int:
        """Tell how much later than a ticket of so many ``seconds`` the key's next one is."""
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
