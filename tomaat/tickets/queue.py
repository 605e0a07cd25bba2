"""The queues between which the manager chooses, with the tickets that wait in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tomaat.devices.need import Need
from tomaat.tickets.priorities import NORMAL, RANKS

NOBODY = ""  #: stands for the key of all tickets without one


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A ticket that waits: for a queue (``source`` is ``None``) or in one."""

    ticket: int
    order: int
    service: str
    interface_hash: str
    expected_seconds: float | None  #: the task's own estimate
    source: str | None
    loading_seconds: float = 0.0  #: expected before it, for its network, in the queue that it is in
    outgrown_bytes: int = 0  #: memory that it did not fit into
    key: str = NOBODY  #: the name of the API key that submitted it
    rank: int = RANKS[NORMAL]  #: of its priority; night's counts as normal once it has waited for long
    came_back: bool = False  #: a source had it already


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tickets of one service, one key and one rank that wait in a queue."""

    service: str
    key: str = NOBODY
    first: int  #: the lowest ``queue_order`` of them
    last: int  #: the highest
    seconds: float  #: expected, of all of them


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a key may use, and has used."""

    weight: float = 1.0  #: turns for one of another key
    used_seconds: dict[int, float] = field(default_factory=dict)  #: lately, by rank


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A compute source and the tickets that wait for it, in order."""

    source: str
    offers: frozenset[tuple[str, str]]  #: (service, interface hash)
    waiting: tuple[Waiting, ...]
    durations: Mapping[str, float]  #: measured mean seconds of each service here
    performed: tuple[float, ...] = ()  #: seconds expected of each ticket that a lane performs; the other lanes are free
    lanes: int = 1
    queued_seconds: float | None = None  #: expected, of the whole queue, where ``waiting`` does not hold all of it
    parts: tuple[Part, ...] = ()  #: of which those ``queued_seconds`` are, as far as that is known
    recent: tuple[str, ...] = ()  #: the warm services, then those that run and wait, each where it is used last
    needs: Mapping[str, Need] = field(default_factory=dict)  #: measured needs of each service here
    memory_bytes: int | None = None  #: ``None``: shared with other programs
    on_cpu: bool = False
    live: bool = True

    @property
    def idle(self) -> bool:
        """Whether a lane is free, and no ticket waits for it."""
        return len(self.performed) < self.lanes and not self.waiting and not self.queued_seconds

    @property
    def free(self) -> list[float]:
        """The seconds until each lane has performed its ticket, ascending."""
        return [0.0] * (self.lanes - len(self.performed)) + sorted(self.performed)

    def runs(self, waiting: Waiting) -> bool:
        """Tell whether the source offers the very interface that a ticket was checked against, and is large enough."""
        return (waiting.service, waiting.interface_hash) in self.offers and (
            not waiting.outgrown_bytes or (self.memory_bytes or 0) > waiting.outgrown_bytes
        )

    def warm(self, recent: Iterable[str]) -> frozenset[str]:
        """Tell which networks are on the device once ``recent`` services ran in this order.

        The worker keeps the most recently used, as many as fit with room for the largest of their tickets.
        """
        kept: set[str] = set()
        networks = beside = 0
        for service in reversed(list(recent)):
            need = self.needs.get(service)
            if need is not None:
                networks += need.network_bytes
                beside = max(beside, need.most_bytes - need.network_bytes)
            if kept and self.memory_bytes is not None and networks + beside > self.memory_bytes:
                break
            kept.add(service)
        return frozenset(kept)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A ticket goes from a queue, or from none, to another."""

    ticket: int
    from_source: str | None
    to_source: str
    loading_seconds: float = 0.0  #: expected before it, for its network
    order: int | None = None  #: its new place among those that wait; ``None``: as before


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A service that fits on no compute source that offers it."""

    service: str
    interface_hash: str
    needed_bytes: int  #: the least that it needs on any of them
    largest_bytes: int
