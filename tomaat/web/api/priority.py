"""The priority of a request: one of those that its API key may ask for."""

from __future__ import annotations

from collections.abc import Sequence

from tomaat.access.key_store import ApiKey
from tomaat.refusals import shown
from tomaat.tickets.priorities import NORMAL, PRIORITIES, without_priority
from tomaat.web.http.problems import Problem
from tomaat.web.http.shapes import Json

PRIORITY_SCHEMA: Json = {
    "type": "string",
    "enum": list(PRIORITIES),
    "default": NORMAL,
    "description": "`urgent` goes before all others, `night` runs when nothing else waits; a key may ask for some.",
}


def read_priority(sent: bytes | None, key: ApiKey | None, allowed: Sequence[str]) -> str:
    """Check a request's priority by what is ``allowed`` to its key, or without one. Raises ``Problem``."""
    whoever = "A request without an API key" if key is None else f"The API key {key.name}"
    may = f"{whoever} may ask for {', '.join(allowed)}"
    priority = "" if sent is None else sent.decode("utf-8", errors="replace").strip()
    if not priority:
        return without_priority(tuple(allowed))
    if priority not in PRIORITIES:
        detail = f"priority: {shown(priority)} is none of {', '.join(PRIORITIES)}. {may}."
        fault = {"input": None, "code": "not-a-choice", "detail": detail}
        raise Problem(422, "invalid-inputs", "Invalid inputs", detail, [fault])
    if priority not in allowed:
        detail = f"priority: {priority} is not allowed. {may}; an operator can change that."
        raise Problem(403, "priority-not-allowed", "Priority not allowed", detail)
    return priority
