"""Judges how a ticket ends: by its worker's message, or by its worker's death."""

from __future__ import annotations

from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import Outgrown, TaskCrashed, TaskStopped, TicketRefused
from tomaat.scheduling.ends import Cancel, End, Fail, Outgrow, PutBack, SpendAttempt
from tomaat.tickets.problems import out_of_memory, refused, task_crashed, worker_died
from tomaat.tickets.ticket import Ticket


def end_told(told: TicketRefused | TaskCrashed | Outgrown | TaskStopped, ticket: Ticket, source: ComputeSource) -> End:
    """Judge a ticket without a result by its worker's message."""
    match told:
        case TicketRefused():
            return Fail(problem=refused(told.detail, told.errors), reason="refused")
        case TaskCrashed():
            return Fail(problem=task_crashed(told.error, told.reference, told.told), reason="crashed")
        case Outgrown():
            problem = out_of_memory(ticket.service, source.name, told.needed_bytes, told.total_bytes, now=told.now)
            return Outgrow(memory_bytes=source.memory_bytes, problem=problem)
        case TaskStopped():
            return Cancel()


def end_of_worker(ending: str, ticket: Ticket, *, blamed: bool) -> End:
    """Judge a ticket whose worker died; of two in it, nobody knows which one it died of."""
    return SpendAttempt(problem=worker_died(ending, ticket.attempts + 1)) if blamed else PutBack()
