"""Tickets and services as clients read them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from tomaat.tickets.ticket import Ticket
from tomaat.tickets.ticket_store import OfferedService, Outlook, ShortestQueue

Links = dict[str, str]


def links(ticket_id: int, token: str) -> Links:
    """Name the addresses of a ticket; with the token in them as the seed's protocol has it."""
    reference = f"{ticket_id}&{token}" if token else str(ticket_id)
    return {
        "status": f"/status/{reference}",
        "result": f"/result/{reference}",
        "cancel": f"/request/{reference}",
    }


def accepted(ticket: Ticket, token: str) -> dict[str, Any]:
    """Describe a new ticket, once with its token."""
    return {
        "id": ticket.id,
        "token": token,
        "service": ticket.service,
        "state": ticket.state,
        "links": links(ticket.id, token),
    }


def status(ticket: Ticket, outlook: Outlook, token: str) -> dict[str, Any]:
    """Describe where a ticket stands."""
    return {
        "id": ticket.id,
        "service": ticket.service,
        "state": ticket.state,
        "position": outlook.position,
        "compute_source": ticket.source,
        "progress": ticket.progress,
        "stage": ticket.stage,
        "claim": ticket.claim,
        "created": moment(ticket.created),
        "started": moment(ticket.started),
        "finished": moment(ticket.finished),
        "eta_seconds": None if outlook.eta_seconds is None else round(outlook.eta_seconds, 1),
        "error": ticket.error,
        "links": links(ticket.id, token),
    }


def service(offered: OfferedService, ahead: ShortestQueue | None, example: dict[str, Any]) -> dict[str, Any]:
    """Describe a service with its inputs, and what a new ticket would wait for."""
    return {
        "name": offered.name,
        "description": offered.description,
        "version": offered.version,
        "available": offered.available,
        "memory_bytes": offered.memory_bytes,
        "waiting": None if ahead is None else ahead.waiting,
        "wait_seconds": None if ahead is None else round(ahead.wait_seconds, 1),
        "interface": offered.interface,
        "example": example,
    }


def moment(time: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC.

    >>> moment(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc))
    '2026-01-02T03:04:05.678Z'
    """
    if time is None:
        return None
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
