"""The pieces of which OpenAPI is made: operations, answers, headers, and the refusals that addresses share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tomaat.web.http.problems import CONTENT_TYPE
from tomaat.web.http.shapes import REFERENCE, Json

HEADER_TEXTS = {
    "Location": "The address of the ticket's status.",
    "Retry-After": "Seconds after which asking again makes sense.",
    "Content-Length": "Bytes of the file, or of the range.",
    "Content-Range": "`bytes <first>-<last>/<all>`, or `bytes */<all>` where the range lies outside.",
    "Content-Disposition": "`attachment`, with a name for the file.",
    "Accept-Ranges": "`bytes`.",
    "ETag": "The file's version in quotes; of a whole result its SHA-256.",
    "WWW-Authenticate": "The header in which the key is expected.",
}
REFUSAL_HEADERS = {
    401: ["WWW-Authenticate"],
    409: ["Retry-After"],
    416: ["Content-Range"],
    429: ["Retry-After"],
    503: ["Retry-After"],
    507: ["Retry-After"],
}
SOMETIMES = frozenset({409})  #: refusals whose headers are not always there
TEXTS = {
    400: "The request or its archive cannot be read.",
    401: "An API key is needed, and none that is right was shown.",
    403: "The API key may not ask for this service, or is no operator's.",
    404: "Nothing here; a wrong id and a wrong token are told the same.",
    408: "The body came too slowly.",
    409: "There is no result, or no input to look at: not yet (Retry-After), cancelled, or failed. To an operator: it "
    "has ended, or cannot be run again.",
    410: "It is no longer kept.",
    412: "The file is not the one that If-Match names.",
    413: "Too large, packed or unpacked.",
    415: "Not multipart/form-data, or not gzip; of an operator's act: not application/json.",
    416: "The range lies outside of the file.",
    422: "The service does not take these inputs; all faults are listed.",
    429: "The API key has too many waiting tickets, or made too many within a minute, or too many wrong keys came from "
    "the client's address; see Retry-After.",
    500: "The server made a mistake.",
    503: "A limit is reached, the database is away, or a part fails; see Retry-After.",
    507: "The server's disk is full.",
}
#: The kinds of problem that a status comes with; 409 has those with which tickets fail, too.
KINDS = {
    400: ["invalid-request", "unreadable-archive"],
    401: ["key-needed"],
    403: ["service-not-allowed", "priority-not-allowed", "operator-needed"],
    404: ["not-found", "unknown-service"],
    408: ["too-slow"],
    409: [
        *("not-ready", "cancelled", "input-unreadable", "refused", "task-crashed", "worker-died", "worker-lost"),
        *(
            "files-lost",
            "out-of-memory",
            "deadline-passed",
            "waited-too-long",
            "service-withdrawn",
            "result-not-stored",
        ),
        *("not-loaded", "server-fault", "ticket-ended", "ticket-started", "not-run-again"),
    ],
    410: ["expired"],
    412: ["changed"],
    413: ["too-large"],
    415: ["invalid-request", "not-gzip"],
    416: ["range"],
    422: ["invalid-inputs", "idempotency-key-reused"],
    429: ["queue-full", "busy"],
    500: ["internal-error"],
    503: ["queue-full", "busy", "unavailable", "not-serving", "not-offered-yet"],
    507: ["storage-full"],
}


def operation(name: str, summary: str, answers: Mapping[int, Json], *refusals: int, **more: Any) -> Json:
    """Describe one method of an address; every one may also be refused with 500 and 503."""
    problems = {
        str(status): {
            "description": TEXTS[status],
            "content": {CONTENT_TYPE: {"schema": _problem(status)}},
            **headers(*REFUSAL_HEADERS.get(status, []), always=status not in SOMETIMES),
        }
        for status in (*refusals, 500, 503)
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {str(status): each for status, each in answers.items()} | problems,
        **more,
    }


def shape_answer(description: str, shape: type, *, many: bool = False, **more: Any) -> Json:
    """Describe an answer that holds a shape, or a list of it."""
    one = reference(shape.__name__)
    return content_answer(description, {"application/json": {"type": "array", "items": one} if many else one}, **more)


def content_answer(description: str, content: Mapping[str, Json], **more: Any) -> Json:
    """Describe an answer by the schema of each media type that it may have."""
    return {"description": description, "content": {kind: {"schema": each} for kind, each in content.items()}, **more}


def headers(*names: str, always: bool = True) -> Json:
    """Describe the headers of an answer."""
    described = {
        name: {"description": HEADER_TEXTS[name], "required": always, "schema": {"type": "string"}} for name in names
    }
    return {"headers": described} if described else {}


def path_parameter(name: str, **more: Any) -> Json:
    """Describe a part of an address."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}, **more}


def reference(name: str) -> Json:
    """Refer to a schema by its name."""
    return {"$ref": REFERENCE + name}


def _problem(status: int) -> Json:
    kinds = [f"/problems/{slug}" for slug in KINDS[status]]
    return {"allOf": [reference("Problem"), {"properties": {"type": {"enum": kinds}}}]}
