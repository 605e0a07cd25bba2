"""What the lanes of one compute source tell each other: what their workers offer, perform and hold.

Each lane writes its own part only, whole values at once, and wakes the others. What belongs to a ticket is written by
the lane that runs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

from tomaat.devices.need import Need
from tomaat.messages import Offered
from tomaat.processes.proc import machine_memory_bytes
from tomaat.tickets.reload_store import ReloadOutcome

MOST_LANES = 4
CONTEXT_BYTES = 2**30  #: of a GPU's memory that each worker takes beside its tensors: CUDA's context and libraries
CROWDED_SECONDS = 3600.0
NOTHING_CHANGED = "nothing has changed"  #: a lane's word, of the tasks that it offers
MOST_BESIDE = 2  #: times that a ticket is put back since it ran out of memory beside others; then it counts as alone


@dataclass(frozen=True, kw_only=True)
class LaneNow:
    """What one lane tells the others."""

    usable: bool = False  #: its worker uses the device
    offers: Mapping[str, Offered] = field(default_factory=dict)
    broken: str | None = None  #: why it has no worker that can begin, at its last try
    complete: bool = False  #: its worker has loaded all that it offers, and loads nothing anew
    needs: Mapping[str, Need] = field(default_factory=dict)  #: as its worker has measured them
    warm: Sequence[str] = ()  #: networks, the least recently used first
    performs: str | None = None  #: the service of the ticket that has its device
    expects_bytes: int | None = None  #: the most that its worker will hold with that ticket, as its task foretells it
    alone: bool = False  #: that ticket must have no neighbour
    begun: int = 0  #: tickets and workers that were started here
    holds_bytes: int = 0  #: the most that its worker may hold of the device's memory now
    ahead: tuple[int, int] | None = None  #: the waiting ticket that its worker reads, and that one's place in the order
    claims: bool = False  #: it claims a ticket now, or is the next that does
    waits: bool = False  #: to be woken when another lane has claimed

    @property
    def most_bytes(self) -> int:
        """The most that its worker may hold of the device's memory before its ticket has ended."""
        return max(self.holds_bytes, self.expects_bytes or 0)


class LanesOfSource:
    """The parts of all lanes. It lives as long as the lease under which they claim."""

    def __init__(self, memory_bytes: int | None, *, on_gpu: bool) -> None:
        """Share ``memory_bytes`` of the device's memory; ``None``: whatever is free."""
        self.memory_bytes = memory_bytes
        self.context_bytes = CONTEXT_BYTES if on_gpu else 0
        self.foreign_bytes = 0  #: of the device, that other programs use; written by the main thread
        self.now: list[LaneNow] = []
        self.wakes: list[Callable[[], None]] = []
        self.asked: list[SimpleQueue[None]] = []  #: of each lane, to let its networks go
        self.crowded: dict[
            int, tuple[int, float]
        ] = {}  #: tickets that ran out of memory beside others: how often, when
        self.reloaded: list[dict[int, ReloadOutcome]] = []  #: of each lane, by what was asked

    def join(self, wake: Callable[[], None]) -> Beside:
        """Add a lane, numbered from 1; called by the main thread only."""
        self.wakes.append(wake)
        self.asked.append(SimpleQueue())
        self.reloaded.append({})
        self.now.append(LaneNow())
        return Beside(self, len(self.now))

    @property
    def total_bytes(self) -> int | None:
        """What the networks and tickets of all lanes may take together; ``None``: whatever is free."""
        if self.memory_bytes is None:
            return None
        return max(0, self.memory_bytes - self.foreign_bytes - self.context_bytes * len(self.now))

    def note_used(self, used_bytes: int) -> None:
        """Learn from a reading of the GPU what is none of the lanes' own; called by the main thread only."""
        own_bytes = sum(lane.most_bytes + self.context_bytes for lane in list(self.now))
        self.foreign_bytes = max(0, used_bytes - own_bytes)

    @property
    def needs(self) -> dict[str, Need]:
        """The needs of each service, as the lane tells them that has measured the most."""
        joined: dict[str, Need] = {}
        for lane in list(self.now):
            for service, need in lane.needs.items():
                known = joined.get(service)
                if known is None or (known.peak_bytes or -1, known.network_bytes) < (
                    need.peak_bytes or -1,
                    need.network_bytes,
                ):
                    joined[service] = need
        return joined

    def fitting(self, *, most: int) -> int:
        """Tell how many lanes fit, each with all networks and its largest ticket: one, until a ticket was measured."""
        needs = self.needs.values()
        if not all(lane.complete or lane.broken for lane in self.now) or all(need.peak_bytes is None for need in needs):
            return 1
        bytes_each = max(1, all_bytes(needs) + self.context_bytes)
        room = self.memory_bytes if self.memory_bytes is not None else machine_memory_bytes("MemTotal")
        return max(1, min(room // bytes_each, MOST_LANES, most))


class Beside:
    """The lanes of a source as one of them sees them. Used by that lane's thread."""

    def __init__(self, lanes: LanesOfSource, number: int) -> None:
        self.lanes = lanes
        self.number = number

    @property
    def own(self) -> LaneNow:
        """What this lane has told."""
        return self.lanes.now[self.number - 1]

    @property
    def others(self) -> list[LaneNow]:
        """What the other lanes have told."""
        return [lane for _, lane in self._numbered()]

    def _numbered(self) -> list[tuple[int, LaneNow]]:
        return [(number, lane) for number, lane in enumerate(list(self.lanes.now), 1) if number != self.number]

    def _set(self, **changes: Any) -> None:
        self.lanes.now[self.number - 1] = replace(self.own, **changes)

    def tell(self, **changes: Any) -> None:
        """Change what this lane tells; where it may keep another from starting a ticket, let the others look."""
        self._set(**changes)
        if not self.is_ample or self.crowded:
            for number, _ in self._numbered():
                self.lanes.wakes[number - 1]()

    # Who claims

    def take_turn(self) -> bool:
        """Tell whether no other lane claims now. Where two want to, the one with the lower number is the next."""
        self._set(claims=True, waits=True)  # first: of two lanes that look afterwards, one sees the other's
        rivals = [number for number, lane in self._numbered() if lane.claims]
        if rivals and min(rivals) < self.number:
            self.end_turn()
        self._set(waits=bool(rivals))
        return not rivals

    def end_turn(self) -> None:
        """Let another lane claim."""
        if self.own.claims:
            self._set(claims=False)
            for number, lane in self._numbered():
                if lane.waits:
                    self.lanes.wakes[number - 1]()

    # Who is woken

    @property
    def is_idle(self) -> bool:
        """Whether the worker of this lane could begin a ticket."""
        return self.own.usable and self.own.performs is None

    def wake_idle(self) -> bool:
        """Let the next idle lane look at the queue, of those with a higher number; tell whether there is one."""
        for number, lane in self._numbered():
            if number > self.number and lane.usable and lane.performs is None:
                self.lanes.wakes[number - 1]()
                return True
        return False

    def wake_all(self) -> None:
        """Let all other lanes look at the queue."""
        for number, _ in self._numbered():
            self.lanes.wakes[number - 1]()

    # Memory

    @property
    def is_shared(self) -> bool:
        """Whether there are other lanes."""
        return len(self.lanes.now) > 1

    def share_of(self, most: int) -> int:
        """Give each lane its part of what may be under way at a time, at least one."""
        return max(1, most // len(self.lanes.now))

    @property
    def is_ample(self) -> bool:
        """Whether all lanes' workers surely fit together, whatever they perform; or nobody has said what fits."""
        total_bytes = self.lanes.total_bytes
        if total_bytes is None or not self.is_shared:
            return True
        needs = self.lanes.needs
        measured = not any(is_unmeasured(needs.get(service)) for lane in self.lanes.now for service in lane.offers)
        return measured and all_bytes(needs.values()) * len(self.lanes.now) <= total_bytes

    def admits(self, service: str, *, beside: Collection[LaneNow] | None = None) -> bool:
        """Tell whether a ticket of a service may start beside the other lanes, or beside those of ``beside``."""
        others = self.others if beside is None else beside
        total_bytes = self.lanes.total_bytes
        if total_bytes is None:
            return not any(lane.alone for lane in others)
        return admits(self.lanes.needs.get(service), others, self.lanes.needs, total_bytes)

    @property
    def performing(self) -> list[LaneNow]:
        """The other lanes whose device is in use."""
        return [lane for lane in self.others if lane.performs is not None]

    @property
    def is_alone(self) -> bool:
        """Whether no other lane performs, or holds anything of the device."""
        return not any(lane.performs is not None or lane.holds_bytes for lane in self.others)

    @property
    def begun(self) -> int:
        """Tickets and workers that the other lanes have started: one that has a neighbour meanwhile sees it grow."""
        return sum(lane.begun for lane in self.others)

    def is_next_for(self, service: str) -> bool:
        """Tell whether this lane is the first of the free ones that offer a service; warm ones come first."""
        free = [
            (service not in lane.warm, number)
            for number, lane in enumerate(list(self.lanes.now), 1)
            if lane.performs is None and service in lane.offers
        ]
        return bool(free) and min(free)[1] == self.number

    def ask_for_room(self) -> None:
        """Ask the lanes that perform nothing to let their networks go."""
        for number, lane in self._numbered():
            if lane.performs is None and lane.holds_bytes:
                self.lanes.asked[number - 1].put(None)
                self.lanes.wakes[number - 1]()

    def is_asked_for_room(self) -> bool:
        """Tell, once, whether another lane wants this one to let its networks go."""
        asked = self.lanes.asked[self.number - 1]
        told = not asked.empty()
        while not asked.empty():
            asked.get()
        return told

    @property
    def crowded(self) -> set[int]:
        """The tickets that ran out of memory beside others, and must start alone, if they come here again soon."""
        since = time.monotonic() - CROWDED_SECONDS
        return {ticket for ticket, (_, noted) in list(self.lanes.crowded.items()) if noted > since}

    def note_crowded(self, ticket: int) -> bool:
        """Note that a ticket ran out of memory beside others; ``False``: too often, so that it is not for them."""
        times = self.lanes.crowded.get(ticket, (0, 0.0))[0] + 1
        self.lanes.crowded[ticket] = (times, time.monotonic())
        if times > MOST_BESIDE:
            self.forget_crowded(ticket)
        return times <= MOST_BESIDE

    def forget_crowded(self, ticket: int) -> None:
        """Forget a ticket that has ended, or that is none of the others' fault."""
        self.lanes.crowded.pop(ticket, None)

    # Offers

    @property
    def offered_by_others(self) -> set[str]:
        """The services that the other lanes' workers offer."""
        return {service for lane in self.others for service in lane.offers}

    @property
    def hashes_of_idle(self) -> set[str]:
        """The interfaces that other lanes offer whose workers could begin a ticket; of another environment, others."""
        idle = [lane for lane in self.others if lane.usable and lane.performs is None]
        return {offered.interface_hash for lane in idle for offered in lane.offers.values()}

    @property
    def warm_elsewhere(self) -> list[str]:
        """The networks that are warm in the other lanes' workers."""
        return [service for lane in self.others for service in lane.warm]

    @property
    def is_first(self) -> bool:
        """Whether no lane with a lower number has a worker that offers all it can."""
        return not any(lane.complete for lane in list(self.lanes.now)[: self.number - 1])

    @property
    def reserved(self) -> dict[int, int]:
        """The waiting tickets that the other lanes' workers read, and their places in the order."""
        return dict(lane.ahead for lane in self.others if lane.ahead is not None)

    def outcome(self, asked: int, own: ReloadOutcome) -> ReloadOutcome | None:
        """Add how a reload went here to how it went in the other lanes; ``None``: some are not through."""
        self.lanes.reloaded[self.number - 1][asked] = own
        told = zip(list(self.lanes.reloaded), list(self.lanes.now), strict=False)
        each = [lane.get(asked) or (now.broken and ReloadOutcome(failed=True, says=now.broken)) for lane, now in told]
        known = [outcome for outcome in each if outcome]
        if len(known) < len(each):
            return None
        failed = [outcome for outcome in known if outcome.failed]
        says = dict.fromkeys(outcome.says for outcome in failed or known)
        if len(says) > 1:
            says.pop(NOTHING_CHANGED, None)  # for some of them
        return replace(own, failed=bool(failed), says="; ".join(says))


def all_bytes(needs: Collection[Need]) -> int:
    """Sum up what a worker holds at most: all networks, and the ticket that takes the most beside its own.

    >>> small, large = (Need(network_bytes=3, peak_bytes=peak, load_seconds=1.0) for peak in (4, 9))
    >>> all_bytes([small, large])
    12
    """
    return sum(need.network_bytes for need in needs) + max(
        (need.most_bytes - need.network_bytes for need in needs), default=0
    )


def admits(need: Need | None, others: Collection[LaneNow], needs: Mapping[str, Need], total_bytes: int) -> bool:
    """Tell whether a ticket that has this ``need`` fits beside what the ``others`` may hold.

    What was never measured starts where nobody performs. Nothing starts beside it, unless its task has foretold what
    it takes, nor beside a ticket that must be alone.
    """
    performing = [lane for lane in others if lane.performs is not None]
    unknown = [
        lane for lane in performing if lane.expects_bytes is None and is_unmeasured(needs.get(str(lane.performs)))
    ]
    if unknown or any(lane.alone for lane in performing):
        return False
    if need is None or need.peak_bytes is None:
        return not performing
    return need.most_bytes + sum(lane.most_bytes for lane in others) <= total_bytes


def is_unmeasured(need: Need | None) -> bool:
    """Tell whether no ticket of a service was ever measured."""
    return need is None or need.peak_bytes is None
