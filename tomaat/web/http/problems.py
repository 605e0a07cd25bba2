"""Errors as clients read them: RFC 9457 problem details, each with an address that explains it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Response
from pydantic import with_config
from typing_extensions import NotRequired, TypedDict

from tomaat.storage.disk import DISK_FULL

CONTENT_TYPE = "application/problem+json"

EXPLANATIONS = {
    "invalid-request": "The request is not of the form that the API describes; its detail names the fault.",
    "unreadable-archive": "The payload cannot be unpacked: it is broken, or holds something that no payload may hold.",
    "not-gzip": "The payload must be a gzip-compressed tar archive (.tar.gz).",
    "too-slow": "The request's body came slower than this server waits for; send it again over a faster line.",
    "too-large": "The payload is beyond a size limit of this server, packed or unpacked.",
    "not-offered-yet": "The service is not offered, and networks are still being loaded; see Retry-After.",
    "unknown-service": "No service of this name is offered here; GET /supportedservices lists those that are.",
    "invalid-inputs": "The service does not take these inputs; `errors` lists every fault.",
    "queue-full": "As many tickets wait as this server takes; try again later.",
    "busy": "The server is at a limit; try again after the seconds of Retry-After.",
    "unavailable": "The server's database does not answer now; try again after the seconds of Retry-After.",
    "storage-full": "The server's disk is full; its operator has to make room.",
    "key-needed": "This server takes requests with an API key only, and this request shows none that is right.",
    "operator-needed": "What is asked for is for operators, and the API key is no operator's.",
    "not-serving": "The server cannot serve now; `errors` names each part that fails.",
    "service-not-allowed": "The API key may ask for other services only.",
    "priority-not-allowed": "The API key may ask for other priorities only.",
    "ticket-started": "The ticket runs already, or has ended, so that nothing is before it.",
    "ticket-ended": "The ticket has ended, so that there is nothing to cancel; an operator deletes nothing.",
    "not-run-again": "The ticket has not ended, its input is no longer kept, or its service takes other inputs by now.",
    "idempotency-key-reused": "Idempotency-Key names one request; this one differs from the one that had it first.",
    "not-found": "There is nothing at this address. A wrong id and a wrong token are told the same.",
    "method-not-allowed": "The address exists, but not for this method; Allow lists those that it takes.",
    "not-ready": "The ticket has not ended yet, or the volume is being read; ask again after the seconds of "
    "Retry-After, or wait with ?wait=.",
    "cancelled": "The ticket was given up by its client; there is no result.",
    "expired": "The result, or the input, is no longer kept.",
    "input-unreadable": "The volume that was sent cannot be read, so that it cannot be shown; the detail says why.",
    "range": "The range lies outside of the file.",
    "changed": "The file is not the one that If-Match names.",
    "internal-error": "The server made a mistake; its log has the reference.",
    "refused": "The task refused the inputs; the sentence is its own.",
    "task-crashed": "The task stopped with an error of its own; the server's log has the reference.",
    "worker-died": "The process that ran the task died, as often as tickets are tried.",
    "files-lost": "The server was restored from a backup that has this ticket without its files.",
    "worker-lost": "The process that ran the task was lost, as often as tickets are tried.",
    "out-of-memory": "The ticket needs more memory than the compute source has.",
    "deadline-passed": "The task took longer than its deadline.",
    "waited-too-long": "No compute source ran the ticket within the time that tickets may wait.",
    "service-withdrawn": "No compute source has offered the ticket's service for long; it was withdrawn.",
    "result-not-stored": "The server could not write the result to its storage.",
    "not-loaded": "The network of the service did not load in time.",
    "server-fault": "The server made an error of its own; its log has it under the reference in the detail.",
}


@with_config(use_attribute_docstrings=True)
class Fault(TypedDict):
    """One of the reasons why a request was refused."""

    input: str | None
    """The input's id; null: of the whole request."""
    code: str
    detail: str


@with_config(title="Problem", use_attribute_docstrings=True)
class ProblemDetails(TypedDict):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[Fault]]
    """All faults of the inputs at once."""


@dataclass(eq=False)
class Problem(Exception):
    """Answers a request with problem details."""

    status: int
    slug: str
    title: str
    detail: str
    errors: list[dict[str, Any]] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_response(problem: Problem) -> Response:
    """Make the answer."""
    body: ProblemDetails = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.errors:
        body["errors"] = cast("list[Fault]", problem.errors)
    text = json.dumps(body, ensure_ascii=False) + "\n"
    return Response(text, problem.status, headers=dict(problem.headers), content_type=CONTENT_TYPE)


def not_found() -> Problem:
    """Make the answer to a wrong id, a wrong token and an absent one, which is the same."""
    return Problem(404, "not-found", "Not found", "There is no ticket with this id and token.")


def retry_later(status: int, slug: str, title: str, detail: str, seconds: int = 1) -> Problem:
    """Ask the client to come again."""
    return Problem(status, slug, title, detail, headers={"Retry-After": str(seconds)})


def nothing_here() -> Problem:
    """Make the answer to an address that does not exist."""
    return Problem(404, "not-found", "Not found", "There is nothing at this address.")


def wrong_method(method: str, allowed: str) -> Problem:
    """Make the answer to a method that the address does not take."""
    detail = f"This address does not take {method[:20]}; it takes {allowed}."
    return Problem(405, "method-not-allowed", "Method not allowed", detail, headers={"Allow": allowed})


def invalid(detail: str, errors: list[dict[str, Any]] | None = None) -> Problem:
    """Say that a request is not of the form that the API describes."""
    return Problem(400, "invalid-request", "Invalid request", detail, errors or [])


def too_large(claimed_bytes: int | None, largest_bytes: int) -> Problem:
    """Refuse a request before its body is looked at."""
    has = "more" if claimed_bytes is None else f"{claimed_bytes} bytes"
    return Problem(413, "too-large", "Too large", f"A request has at most {largest_bytes} bytes; this one has {has}.")


def storage_full() -> Problem:
    """Say that what a request brings, or asks to be made, has no room."""
    detail = "The server's disk is full; tell its operator. Nothing was kept of this request."
    return retry_later(507, "storage-full", "Storage full", detail, 60)


@contextmanager
def refused_where_disk_is_full() -> Iterator[None]:
    """Turn a full disk's ``OSError`` into its ``Problem``."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise storage_full() from error
        raise
