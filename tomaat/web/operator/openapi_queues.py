"""What operators read and send at /queues, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

from tomaat.tickets.states import ENDED, STATES
from tomaat.web.api.tokens import LARGEST_ID

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
YES: Json = {"type": "boolean"}
ID: Json = {"type": "integer", "minimum": 1, "maximum": LARGEST_ID}
STATE: Json = {"type": "string", "enum": list(STATES)}


def _or_null(kind: str, **more: Any) -> Json:
    return {"type": [kind, "null"], **more}


def _all_of(properties: Json) -> Json:
    """Describe an object of which every property is always there."""
    return {"type": "object", "required": list(properties), "properties": properties}


READING = _all_of(
    {
        "used_bytes": _or_null("integer"),
        "total_bytes": _or_null("integer"),
        "use": _or_null("number", minimum=0, maximum=1),
        "celsius": _or_null("number"),
        "read": TEXT,
    }
) | {
    "type": ["object", "null"],
    "description": "What the device told last, of a CPU's source the whole machine; null: not told.",
}
SOURCE = _all_of(
    {
        "name": TEXT,
        "device": TEXT,
        "memory_bytes": _or_null("integer", description="What networks and tickets may take; null: whatever is free."),
        "problem": _or_null("string", description="Why it cannot be used."),
        "live": YES | {"description": "A TaskScheduling holds it now."},
        "takes_tickets": YES | {"description": "It may start tickets now, and its worker has offered services."},
        "drained": YES | {"description": "It claims nothing more until it is resumed."},
        "reading": READING,
        "services": {"type": "array", "items": TEXT},
        "waiting": COUNT,
    }
)
SEEN_TICKET = _all_of(
    {
        "id": ID,
        "service": TEXT,
        "state": STATE,
        "compute_source": _or_null("string"),
        "key_name": _or_null("string", description="Of the API key that submitted it."),
        "claim": COUNT,
        "attempts": COUNT,
        "progress": _or_null("number"),
        "stage": _or_null("string", description="The task's own words."),
        "created": TEXT,
        "started": _or_null("string"),
        "finished": _or_null("string"),
        "cancel_requested": YES,
        "error": _or_null("string", description="The title of the problem with which it failed."),
        "again_of": _or_null("integer", description="The ticket that an operator ran again as this one."),
        "can_run_again": YES,
    }
)
HOUR = _all_of(
    {
        "begins": TEXT,
        "succeeded": COUNT,
        "failed": COUNT,
        "cancelled": COUNT,
        "wait_median_seconds": _or_null("number", description="From the submission to the last start."),
        "wait_95_seconds": _or_null("number", description="The 95th percentile."),
        "run_median_seconds": _or_null("number", description="From the last start to the result."),
        "run_95_seconds": _or_null("number"),
    }
)
QUEUES = _all_of(
    {
        "now": TEXT | {"description": "The database's clock, RFC 3339."},
        "manager_live": YES | {"description": "A QueueManager is alive; without one no ticket gets a queue."},
        "sources": {"type": "array", "items": SOURCE},
        "unqueued": COUNT | {"description": "Tickets that wait for a queue."},
        "running": {"type": "array", "items": SEEN_TICKET},
        "waiting": {"type": "array", "items": SEEN_TICKET, "description": "The front of each queue, in its order."},
        "services": {"type": "array", "items": TEXT},
        "hours": {"type": "array", "items": HOUR, "description": "Of the last day, in UTC; an empty hour is left out."},
        "tickets": {"type": "array", "items": SEEN_TICKET, "description": "The newest, the newest first."},
    }
)
PARAMETERS = [
    {"name": "service", "in": "query", "description": "Sum up the hours of this service only.", "schema": TEXT},
    {"name": "up_to", "in": "query", "description": "List the tickets from this id downward.", "schema": ID},
]
ACTS: dict[str, tuple[str, Json, Json]] = {
    "drain": (
        "Let a compute source finish what it runs and claim nothing more.",
        {"source": TEXT | {"maxLength": 1000}},
        {"source": TEXT, "drained": YES},
    ),
    "resume": (
        "Let a drained compute source claim again.",
        {"source": TEXT | {"maxLength": 1000}},
        {"source": TEXT, "drained": YES},
    ),
    "cancel": (
        "Give up a ticket that waits or runs; its input is kept, to be run again.",
        {"ticket": ID},
        {"id": ID, "state": STATE, "cancel_requested": YES},
    ),
    "run-again": (
        f"Make a new ticket of the kept input of one that is {', '.join(sorted(ENDED))}; the old one's token opens it.",
        {"ticket": ID},
        {"id": ID, "again_of": ID, "service": TEXT, "state": STATE},
    ),
}
ANSWERS = {"drain": [200], "resume": [200], "cancel": [200, 202], "run-again": [202]}


def body_of(act: str) -> Json:
    """Describe what an act is sent."""
    return _all_of(ACTS[act][1]) | {"additionalProperties": False}


def answer_of(act: str) -> Json:
    """Describe what an act answers."""
    return _all_of(ACTS[act][2])
