"""Sources, tickets and the last day as operators read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tomaat.tickets.operator_store import Hour, LatestReading, Overview, SeenSource, SeenTicket
from tomaat.tickets.states import RUNNING
from tomaat.web.api.views import moment


def described(
    seen: Overview, hours: Sequence[Hour], tickets: Sequence[SeenTicket], service: str | None
) -> dict[str, Any]:
    """Describe everything; the hours are those of one service, or of all together."""
    services = {name for each in seen.sources for name in each.services}
    services |= {each.service for each in hours if each.service is not None}
    return {
        "now": moment(seen.now),
        "manager_live": seen.manager_live,
        "sources": [source(each) for each in seen.sources],
        "unqueued": seen.unqueued,
        "running": [ticket(each) for each in seen.busy if each.state == RUNNING],
        "waiting": [ticket(each) for each in seen.busy if each.state != RUNNING],
        "services": sorted(services),
        "hours": [hour(each) for each in hours if each.service == service],
        "tickets": [ticket(each) for each in tickets],
    }


def source(seen: SeenSource) -> dict[str, Any]:
    """Describe a compute source and its device."""
    return {
        "name": seen.name,
        "device": seen.device_name,
        "memory_bytes": seen.memory_bytes,
        "problem": seen.problem,
        "live": seen.live,
        "takes_tickets": seen.takes_tickets,
        "drained": seen.drained,
        "reading": None if seen.reading is None else reading(seen.reading),
        "services": list(seen.services),
        "waiting": seen.waiting,
    }


def reading(told: LatestReading) -> dict[str, Any]:
    """Describe what a device told last."""
    return {
        "used_bytes": told.used_bytes,
        "total_bytes": told.total_bytes,
        "use": None if told.use is None else round(told.use, 3),
        "celsius": told.celsius,
        "read": moment(told.read),
    }


def ticket(seen: SeenTicket) -> dict[str, Any]:
    """Describe a ticket without what opens it, and without what may name a patient."""
    return {
        "id": seen.id,
        "service": seen.service,
        "state": seen.state,
        "compute_source": seen.source,
        "key_name": seen.key_name,
        "claim": seen.claim,
        "attempts": seen.attempts,
        "progress": seen.progress,
        "stage": seen.stage,
        "created": moment(seen.created),
        "started": moment(seen.started),
        "finished": moment(seen.finished),
        "cancel_requested": seen.cancel_requested,
        "error": seen.error_title,
        "again_of": seen.again_of,
        "can_run_again": seen.can_run_again,
    }


def hour(figures: Hour) -> dict[str, Any]:
    """Describe what ended within an hour."""
    return {
        "begins": moment(figures.begins),
        "succeeded": figures.succeeded,
        "failed": figures.failed,
        "cancelled": figures.cancelled,
        "wait_median_seconds": _rounded(figures.wait_median_seconds),
        "wait_95_seconds": _rounded(figures.wait_95_seconds),
        "run_median_seconds": _rounded(figures.run_median_seconds),
        "run_95_seconds": _rounded(figures.run_95_seconds),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
