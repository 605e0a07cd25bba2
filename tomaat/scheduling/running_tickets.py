"""A claimed ticket, from its claim to its end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from enum import Enum, auto
from pathlib import Path

from tomaat.messages import Progress
from tomaat.scheduling.ends import End
from tomaat.scheduling.limits import Limits
from tomaat.tickets.ticket import Ticket

BRIEF_SECONDS = 0.02  #: of the device; the end of such a ticket takes about as long, and is joined with the next claims
FORGOTTEN = 0.1  #: of the longest time of the device, with each shorter one


class Stage(Enum):
    """Where a running ticket is; it only goes forward."""

    READING = auto()  #: the worker reads its inputs
    PERFORMING = auto()  #: its task runs
    PACKING = auto()  #: the worker packs its result; the device is free
    SEALING = auto()  #: a thread of the lane makes the result durable
    ENDING = auto()  #: the database is told its end, until the outcome is known


class RunningTicket:
    """A ticket that a lane has claimed, its stage, and its end once it is known."""

    def __init__(self, ticket: Ticket, out: Path) -> None:
        self.ticket = ticket
        self.out = out
        self.stage = Stage.READING
        self.limits = Limits()
        self.claimed_at = time.monotonic()
        self.relieved_at: float | None = None  #: when the next ticket was claimed
        self.performing_at: float | None = None
        self.performed_at: float | None = None
        self.ends_soon_until = 0.0  #: so short was its task that its end is waited for before the next claim
        self.loading_seconds = 0.0  #: its network's, which is no part of its duration
        self.turn_at: float | None = None  #: when those before it had left the device
        self.give_up_told = False
        self.progress: Progress | None = None  #: that is not in the row yet
        self.sealing: Future[tuple[str, int]] | None = None  #: gives the result's SHA-256 and size
        self.end: End | None = None
        self.ending_at = 0.0  #: when its end was known
        self.faulty = False  #: an error of ours came up at it
        self.was_alone = True  #: no other lane of its source held anything of the device when it was claimed
        self.begun_beside = 0  #: what the other lanes had started by then

    @property
    def key(self) -> str:
        """The name of this claim of this ticket to the worker."""
        return f"{self.ticket.id}/{self.ticket.claim}"

    @property
    def in_worker(self) -> bool:
        """Whether it would be lost with the worker."""
        return self.stage in {Stage.READING, Stage.PERFORMING, Stage.PACKING}

    @property
    def holds_device(self) -> bool:
        """Whether the device is its own."""
        return self.stage in {Stage.READING, Stage.PERFORMING}

    @property
    def runs_alone(self) -> bool:
        """Whether it was claimed before: a worker that died with two tickets may have died of this one."""
        return self.ticket.claim > 1

    def begin_turn(self) -> None:
        """Note that the device is its own, and nobody's before it."""
        self.turn_at = time.monotonic()

    def perform(self) -> None:
        """Note that its task begins."""
        self.stage, self.performing_at = Stage.PERFORMING, time.monotonic()

    def pack(self) -> None:
        """Note that its task has ended, so that the device is free."""
        now = time.monotonic()
        if self.performing_at is not None and now - self.performing_at < BRIEF_SECONDS:
            self.ends_soon_until = now + BRIEF_SECONDS
        self.stage, self.performed_at = Stage.PACKING, now

    def seal(self, sealing: Future[tuple[str, int]]) -> None:
        """Note that its result is being sealed."""
        self.stage, self.sealing = Stage.SEALING, sealing

    def end_as(self, end: End) -> None:
        """Note how it ends."""
        self.stage, self.end, self.ending_at = Stage.ENDING, end, time.monotonic()

    def relieve(self) -> None:
        """Note that the next ticket may have the device, if this one has left it."""
        if not self.holds_device:
            self.relieved_at = self.relieved_at or time.monotonic()

    @property
    def occupied_seconds(self) -> float:
        """For how long it kept its source from the next ticket, the loading of its network aside."""
        return (self.relieved_at or time.monotonic()) - (self.turn_at or self.claimed_at) - self.loading_seconds


class RunningTickets:
    """The tickets that a lane has claimed and whose end is not known yet, in the order of their claims."""

    def __init__(self) -> None:
        self.runs: list[RunningTicket] = []
        self.about: RunningTicket | None = None  #: the ticket that is looked at, should something go wrong
        self.device_seconds: dict[
            str, float
        ] = {}  #: the longest time, of late, that a ticket of a service had the device

    def __iter__(self) -> Iterator[RunningTicket]:
        return iter(list(self.runs))

    def __len__(self) -> int:
        return len(self.runs)

    def add(self, run: RunningTicket) -> None:
        """Take a ticket that was just claimed, and look at it."""
        self.runs.append(run)
        self.about = run

    def remove(self, run: RunningTicket) -> None:
        """Leave out a ticket whose end is known."""
        self.runs.remove(run)

    def each(self) -> Iterator[RunningTicket]:
        """Look at one after the other."""
        for run in self:
            self.about = run
            yield run
        self.about = None

    @property
    def ids(self) -> list[int]:
        """The tickets' ids."""
        return [run.ticket.id for run in self.runs]

    @property
    def in_worker(self) -> list[RunningTicket]:
        """Those that would be lost with the worker."""
        return [run for run in self.runs if run.in_worker]

    @property
    def hold_device(self) -> bool:
        """Whether one of them does."""
        return any(run.holds_device for run in self.runs)

    @property
    def first(self) -> RunningTicket | None:
        """The ticket whose turn it is to have the device, if there is one."""
        return next((run for run in self.runs if run.holds_device), None)

    def note_performed(self, run: RunningTicket) -> None:
        """Learn for how long a ticket had the device."""
        if run.turn_at is None or run.performed_at is None:
            return
        seconds, service = run.performed_at - run.turn_at - run.loading_seconds, run.ticket.service
        longest = self.device_seconds.get(service, 0.0)
        self.device_seconds[service] = max(seconds, (1 - FORGOTTEN) * longest)

    @property
    def brief(self) -> list[str]:
        """The services whose tickets had the device for a moment only."""
        return [service for service, longest in self.device_seconds.items() if longest < BRIEF_SECONDS]

    @property
    def are_brief(self) -> bool:
        """Whether all of them are expected to have the device for a moment only."""
        return {run.ticket.service for run in self.runs} <= set(self.brief)

    @property
    def need_no_neighbour(self) -> bool:
        """Whether one of them has to run alone."""
        return any(run.runs_alone for run in self.runs)
