"""All that operators read and send at ``/queues``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from annotated_types import MaxLen
from pydantic import with_config

from tomaat.tickets.operator_store import Count, Hour, Overview, SeenTicket, Source
from tomaat.tickets.states import RUNNING, State
from tomaat.tickets.ticket import TicketId
from tomaat.web.operator.last_day import Hours


@dataclass(frozen=True, kw_only=True)
class Queues:
    """All that the operators' page shows."""

    now: datetime
    """The database's clock."""
    manager_live: bool
    """A QueueManager is alive; without one no ticket gets a queue."""
    sources: tuple[Source, ...]
    unqueued: Count
    """Tickets that wait for a queue."""
    running: list[SeenTicket]
    waiting: list[SeenTicket]
    """The front of each queue, in its order."""
    services: list[str]
    hours: list[Hour]
    """The last day, in UTC; an hour in which no ticket ended is left out."""
    tickets: tuple[SeenTicket, ...]
    """The newest first."""

    @classmethod
    def of(cls, seen: Overview, hours: Hours, tickets: tuple[SeenTicket, ...], service: str | None) -> Queues:
        """Put everything together; the hours are those of one service, or of all together."""
        services = {name for each in seen.sources for name in each.services}
        services |= {name for name, _ in hours if name is not None}
        return cls(
            now=seen.now,
            manager_live=seen.manager_live,
            sources=seen.sources,
            unqueued=seen.unqueued,
            running=[each for each in seen.busy if each.state == RUNNING],
            waiting=[each for each in seen.busy if each.state != RUNNING],
            services=sorted(services),
            hours=[hour for name, hour in hours if name == service],
            tickets=tickets,
        )


@with_config(extra="forbid")
@dataclass(frozen=True, kw_only=True)
class OfSource:
    """Names the compute source of an act."""

    source: Annotated[str, MaxLen(1000)]


@with_config(extra="forbid")
@dataclass(frozen=True, kw_only=True)
class OfTicket:
    """Names the ticket of an act."""

    ticket: TicketId


@dataclass(frozen=True, kw_only=True)
class Drained:
    """A compute source was drained, or resumed."""

    source: str
    drained: bool


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A ticket was cancelled, or is asked to stop."""

    id: TicketId
    state: State
    cancel_requested: bool


@dataclass(frozen=True, kw_only=True)
class ToFront:
    """A waiting ticket goes before all others now."""

    id: TicketId
    state: State
    compute_source: str | None
    """Its queue's; null: it waits for one."""


@dataclass(frozen=True, kw_only=True)
class RunAgain:
    """A new ticket was made of the input of an ended one."""

    id: TicketId
    again_of: TicketId
    service: str
    state: State
