"""The lines before the compute sources: the place and the expected end of a ticket, or why no end can be told.

Pure code: no SQL, no clock. One reading tells the places of all tickets.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tomaat.tickets.states import QUEUED, RUNNING, SUBMITTED
from tomaat.tickets.ticket import Ticket

UNKNOWN_SECONDS = 1.0  #: of a ticket whose service was not measured there
MOST_NAMED = 3  #: compute sources that a reason names
NO_MANAGER = "No QueueManager is alive: nothing gets a queue."
NOT_OFFERED = "No compute source offers it with these inputs any more."


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A waiting or running ticket's place and expected end; nothing for other states."""

    position: int | None = None  #: 1: the next of its queue
    eta_seconds: float | None = None  #: expected seconds until its end
    why_waiting: str | None = None  #: a sentence, where no end can be expected


@dataclass(frozen=True, kw_only=True)
class Line:
    """A compute source, and the tickets that it runs and that wait there."""

    source: str
    held: bool  #: a TaskScheduling has its lease
    usable: bool  #: it has no problem
    drained: bool  #: an operator wants it to claim nothing more
    offers: Mapping[str, bool]  #: interface hashes; whether its present holder's worker has offered each
    memory_bytes: int | None = None
    means: Mapping[str, float]  #: measured seconds of each service here
    running: Mapping[int, float]  #: expected seconds that each running ticket needs
    orders: Sequence[int]  #: of the waiting tickets, ascending
    begins: Sequence[float]  #: expected seconds until each waiting ticket begins, and one that would come after them
    ends: Sequence[float]  #: expected seconds until the end of each waiting ticket

    def stall(self, interface_hash: str) -> str | None:
        """Say why it starts no ticket of an interface now; ``None``: it does, when it is the ticket's turn."""
        if not self.held:
            return "is away"
        if not self.usable:
            return "cannot be used now"
        if self.drained:
            return "is drained"
        return None if self.offers.get(interface_hash) else "has not loaded it yet"

    def place_of(self, ticket: Ticket) -> Outlook:
        """Tell a queued ticket's place; a ticket that joined after the reading counts as one more."""
        place = bisect_left(self.orders, ticket.queue_order)
        why = self.stall(ticket.interface_hash)
        if why is not None:
            return Outlook(position=place + 1, why_waiting=f"{self.source} {why}.")
        if place < len(self.orders) and self.orders[place] == ticket.queue_order:
            return Outlook(position=place + 1, eta_seconds=self.ends[place])
        return Outlook(position=place + 1, eta_seconds=self.begins[place] + self._seconds(ticket))

    def left(self, ticket: Ticket) -> float | None:
        """Expect the seconds that a running ticket still needs; ``None`` where nobody holds the source."""
        return self.running.get(ticket.id, self._seconds(ticket)) if self.held else None

    def _seconds(self, ticket: Ticket) -> float:
        own = ticket.expected_seconds
        return self.means.get(ticket.service, UNKNOWN_SECONDS) if own is None else own


@dataclass(frozen=True, kw_only=True)
class Lines:
    """All lines at one moment."""

    manager_held: bool  #: a QueueManager has its lease
    lines: Mapping[str, Line]  #: by the source's name

    def outlook(self, ticket: Ticket) -> Outlook:
        """Tell a ticket's place and expected end, or why none can be expected."""
        if ticket.state == SUBMITTED:
            return Outlook(why_waiting=self.why_unavailable(ticket.interface_hash, ticket.outgrown_bytes))
        line = self.lines.get(ticket.source or "")
        if line is None or ticket.state not in {QUEUED, RUNNING}:
            return Outlook()
        if ticket.state == QUEUED:
            return line.place_of(ticket)
        left = line.left(ticket)
        return Outlook(eta_seconds=left, why_waiting=f"{line.source} is away." if left is None else None)

    def why_unavailable(self, interface_hash: str, outgrown_bytes: int | None = None) -> str | None:
        """Say why no source takes new tickets of an interface; ``None``: one does, and a QueueManager is alive."""
        able = [
            line
            for line in self.lines.values()
            if interface_hash in line.offers and (outgrown_bytes is None or (line.memory_bytes or 0) > outgrown_bytes)
        ]
        stalls = {line.source: line.stall(interface_hash) for line in able}
        if not stalls:
            return NOT_OFFERED
        if None in stalls.values():
            return None if self.manager_held else NO_MANAGER
        named = [f"{source} {why}" for source, why in sorted(stalls.items())][:MOST_NAMED]
        more = f", and {len(stalls) - len(named)} more" if len(stalls) > len(named) else ""
        return f"No compute source takes it now: {', '.join(named)}{more}."


def begins_and_ends(
    seconds: Sequence[float], performed: Collection[float], *, lanes: int
) -> tuple[list[float], list[float]]:
    """Let each waiting ticket, in order, begin on the lane that is free first; tell when it begins and ends.

    ``performed`` are the seconds that the lanes need for what they perform; the others are free. One more ticket begins
    as the last of the beginnings says.

    >>> begins_and_ends([2.0, 3.0], [1.0], lanes=1)
    ([1.0, 3.0, 6.0], [3.0, 6.0])
    >>> begins_and_ends([2.0, 3.0], [1.0], lanes=2)
    ([0.0, 1.0, 2.0], [2.0, 4.0])
    """
    free = [0.0] * (lanes - len(performed)) + sorted(performed)
    begins, ends = [], []
    for each in seconds:
        begins.append(free[0])
        ends.append(free[0] + each)
        heapq.heapreplace(free, ends[-1])
    return [*begins, free[0]], ends
