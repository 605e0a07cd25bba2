"""Describe the API as OpenAPI 3.1, services and their inputs included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tomaat import __version__
from tomaat.services.payload import FORMATS
from tomaat.tickets.states import STATES
from tomaat.web.http.access import HEADER as KEY_HEADER
from tomaat.web.http.problems import CONTENT_TYPE
from tomaat.web.operator import openapi_queues

Json = dict[str, Any]

NUMBER_OR_NULL = {"type": ["number", "null"]}
STRING_OR_NULL = {"type": ["string", "null"]}
MOMENT = {"type": ["string", "null"], "description": "RFC 3339, UTC."}
LINKS = {
    "type": "object",
    "required": ["status", "result", "cancel"],
    "properties": {name: {"type": "string"} for name in ("status", "result", "cancel")},
}
STATE = {"type": "string", "enum": list(STATES)}
PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457 problem details; `errors` lists every fault of the inputs at once.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["input", "code", "detail"],
                "properties": {
                    "input": STRING_OR_NULL,
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
ACCEPTED: Json = {
    "type": "object",
    "required": ["id", "token", "service", "state", "links"],
    "properties": {
        "id": {"type": "integer"},
        "token": {"type": "string", "description": "The only copy: whoever has it sees the ticket."},
        "service": {"type": "string"},
        "state": STATE,
        "links": LINKS,
    },
}
STATUS_PROPERTIES: Json = {
    "id": {"type": "integer"},
    "service": {"type": "string"},
    "state": STATE,
    "position": {"type": ["integer", "null"], "description": "Place in its queue; 1 is next."},
    "compute_source": STRING_OR_NULL,
    "progress": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "stage": STRING_OR_NULL,
    "claim": {"type": "integer", "description": "How often it was handed to a worker."},
    "created": MOMENT,
    "started": MOMENT,
    "finished": MOMENT,
    "eta_seconds": NUMBER_OR_NULL,
    "error": {"type": ["object", "null"], "description": "Why it failed, as problem details."},
    "links": LINKS,
}
STATUS: Json = {"type": "object", "required": list(STATUS_PROPERTIES), "properties": STATUS_PROPERTIES}
INPUT: Json = {
    "type": "object",
    "required": ["id", "name", "description", "type", "store", "required", "default"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "description": {"type": "string"},
        "type": {"enum": ["volume", "float", "int", "str", "singlechoice", "boolean", "pointlist"]},
        "store": {"enum": ["mainjson", "file"]},
        "required": {"type": "boolean"},
        "default": {},
    },
}
SERVICE: Json = {
    "type": "object",
    "required": [
        "name",
        "description",
        "version",
        "available",
        "waiting",
        "wait_seconds",
        "memory_bytes",
        "interface",
        "example",
    ],
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "version": {"type": "string"},
        "available": {"type": "boolean", "description": "A compute source that takes tickets offers it now."},
        "memory_bytes": {
            "type": "object",
            "description": "The most that its tickets were measured to need, by compute source.",
            "additionalProperties": {"type": "integer", "minimum": 0},
        },
        "waiting": {
            "type": ["integer", "null"],
            "description": "Tickets in the shortest queue that a new one may join; null where none is available.",
        },
        "wait_seconds": NUMBER_OR_NULL | {"description": "Expected, until a new ticket would be started."},
        "interface": {"type": "object", "additionalProperties": INPUT},
        "example": {
            "type": "object",
            "description": "By inputs' ids, to try it with; may be empty. Values, and of volumes a `file` to send: its "
            "address here, and what it is `about`.",
        },
    },
}
WHILE_STATE = {
    "name": "state",
    "in": "query",
    "description": "With wait: answer when the state is not this one. Without: when the ticket has ended.",
    "schema": STATE,
}
REFERENCE = {
    "name": "reference",
    "in": "path",
    "required": True,
    "description": "`<id>&<token>`, or `<id>` with `Authorization: Bearer <token>`.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
}
RESULT_REQUEST_HEADERS = [
    {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    for name, description in {
        "Range": "One range, such as `bytes=0-1023`; what is no single range is answered whole.",
        "If-Range": "Send the range only of the result with this ETag, else all of it.",
        "If-None-Match": "Send nothing (304) if the result has this ETag.",
        "If-Match": "Send nothing (412) unless the result has this ETag.",
    }.items()
]
HEADER_TEXTS = {
    "Location": "The address of the ticket's status.",
    "Retry-After": "Seconds after which asking again makes sense.",
    "Content-Length": "Bytes of the result, or of the range.",
    "Content-Range": "`bytes <first>-<last>/<all>`, or `bytes */<all>` where the range lies outside.",
    "Content-Disposition": "`attachment`, with a name for the file.",
    "Accept-Ranges": "`bytes`.",
    "ETag": "The result's SHA-256 in quotes.",
    "WWW-Authenticate": "The header in which the key is expected.",
}
SUBMIT_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The client's own random name for this request: sent again with the same payload, it gives the "
        "same ticket.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    }
]
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
    409: "There is no result: not yet (Retry-After), cancelled, or failed. To an operator: it has ended, or cannot be "
    "run again.",
    410: "The result is no longer kept.",
    412: "The result is not the one that If-Match names.",
    413: "Too large, packed or unpacked.",
    415: "Not multipart/form-data, or not gzip; of an operator's act: not application/json.",
    416: "The range lies outside of the result.",
    422: "The service does not take these inputs; all faults are listed.",
    429: "The API key has too many waiting tickets, or made too many within a minute; see Retry-After.",
    500: "The server made a mistake.",
    503: "A limit is reached, the database is away, or a part fails; see Retry-After.",
    507: "The server's disk is full.",
}
METRICS: Json = {"schema": {"type": "string"}}
#: The kinds of problem that a status comes with; 409 has those with which tickets fail, too.
KINDS = {
    400: ["invalid-request", "unreadable-archive"],
    401: ["key-needed"],
    403: ["service-not-allowed", "operator-needed"],
    404: ["not-found", "unknown-service"],
    409: [
        *("not-ready", "cancelled", "refused", "task-crashed", "worker-died", "worker-lost", "files-lost"),
        *("out-of-memory", "deadline-passed", "waited-too-long", "result-not-stored", "ticket-ended"),
        "not-run-again",
    ],
    410: ["expired"],
    412: ["changed"],
    413: ["too-large"],
    415: ["invalid-request", "not-gzip"],
    416: ["range"],
    422: ["invalid-inputs", "idempotency-key-reused"],
    429: ["queue-full", "busy"],
    500: ["internal-error"],
    503: ["queue-full", "unavailable", "not-serving"],
    507: ["storage-full"],
}
JSON_TYPES: dict[str, Json] = {
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "str": {"type": "string"},
    "singlechoice": {"type": "string"},
    "boolean": {"type": "boolean"},
    "pointlist": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
    },
    "volume": {
        "type": "object",
        "description": "Chooses one of several DICOM series; the volume itself is a file.",
        "required": ["series"],
        "additionalProperties": False,
        "properties": {"series": {"type": "string", "pattern": "^[0-9.]{1,64}$"}},
    },
}
RULES = {
    "minimum": "minimum",
    "maximum": "maximum",
    "choices": "enum",
    "longest": "maxLength",
    "fewest": "minItems",
    "most": "maxItems",
    "default": "default",
}
SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "The ticket's token, beside its bare id in the path; or both are there.",
    },
    "operator": {"type": "http", "scheme": "bearer", "description": "An operator's API key."},
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": KEY_HEADER,
        "description": "Where the server asks for one.",
    },
}


def describe_api(services: Sequence[Mapping[str, Any]], *, longest_wait_seconds: float) -> Json:
    """Make the document; ``services`` as ``/supportedservices`` lists them."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TOMAAT",
            "version": __version__,
            "description": "Send a `.tar.gz`, get a ticket, fetch a `.tar.gz`. A payload holds `main.json` = "
            '`{"inputs": {"<id>": value}}` and one `file-<id>.<ext>` for each file input. Every answer says '
            "`Cache-Control: no-store` and `Referrer-Policy: no-referrer`. HEAD is taken wherever GET is.",
        },
        "paths": {
            "/": {"get": _operation("index", "What this is.", {200: _index()})},
            "/request": {"post": _submit(services)},
            **_ticket(longest_wait_seconds),
            "/supportedservices": {
                "get": _operation(
                    "services",
                    "What can be asked, and with which inputs.",
                    {200: _json("The services.", {"type": "array", "items": _ref("Service")})},
                )
            },
            **_queues(),
            **_watched(),
            "/examples/{name}": {
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
                ],
                "get": _operation("example", "A volume to try a service with.", {200: _file("The volume.")}, 404),
            },
            "/openapi.json": {
                "get": _operation("openapi", "This document.", {200: _json("OpenAPI 3.1.", {"type": "object"})})
            },
            "/problems/{slug}": {
                "parameters": [
                    {"name": "slug", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[^/]+$"}}
                ],
                "get": _operation(
                    "explain", "What a problem means.", {200: _json("Its explanation.", {"type": "object"})}, 404
                ),
            },
        },
        "components": {
            "schemas": {
                "Accepted": ACCEPTED,
                "Status": STATUS,
                "Service": SERVICE,
                "Queues": openapi_queues.QUEUES,
                "Problem": PROBLEM,
                **{f"main.json.{service['name']}": main_schema(service["interface"]) for service in services},
            },
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _ticket(longest_wait_seconds: float) -> Json:
    """Describe what can be asked about a ticket by whoever has its token."""
    security: list[Json] = [{}, {"token": []}]
    wait = {
        "name": "wait",
        "in": "query",
        "description": "Seconds to wait before answering; the server may answer sooner, with Retry-After.",
        "schema": {"type": "number", "minimum": 0, "maximum": longest_wait_seconds},
    }
    return {
        "/request/{reference}": {
            "parameters": [REFERENCE],
            "delete": _operation(
                "cancel",
                "Give a ticket up; idempotent.",
                {
                    200: _json("It is over.", _ref("Status")),
                    202: _json("Asked for.", _ref("Status")) | _headers("Retry-After", always=False),
                },
                404,
                security=security,
            ),
        },
        "/status/{reference}": {
            "parameters": [REFERENCE],
            "get": _operation(
                "status",
                "Where a ticket stands.",
                {200: _json("Its status.", _ref("Status")) | _headers("Retry-After", always=False)},
                *(400, 404),
                parameters=[wait, WHILE_STATE],
                security=security,
            ),
        },
        "/result/{reference}": {
            "parameters": [REFERENCE],
            "get": _result([wait, *RESULT_REQUEST_HEADERS], security),
        },
    }


def _watched() -> Json:
    """Describe what those ask who watch the server."""
    return {
        "/health/live": {
            "get": _operation("live", "Whether the process answers.", {200: _json("It does.", _flag("live"))})
        },
        "/health/ready": {
            "get": _operation(
                "ready",
                "Whether a request would be served; 503 names each part that fails.",
                {200: _json("It would.", _flag("ready"))},
            )
        },
        "/metrics": {
            "get": _operation(
                "metrics",
                "Figures for Prometheus; for operators, where the server asks for API keys.",
                {200: {"description": "Prometheus' text format 0.0.4.", "content": {"text/plain": METRICS}}},
                *(401, 403),
                security=[{}, {"key": []}, {"operator": []}],
            )
        },
    }


def _index() -> Json:
    links, page = {"schema": {"type": "object"}}, {"schema": {"type": "string"}}
    content = {"application/json": links, "text/html": page}
    return {"description": "Links; a page for people where text/html is preferred.", "content": content}


def _queues() -> Json:
    """Describe what operators do; each of it needs an operator's key, also where no other key is needed."""
    security: list[Json] = [{"key": []}]
    page = {"text/html": {"schema": {"type": "string"}}}
    data = _json("Sources and tickets; for people the page, which needs no key.", _ref("Queues"))
    data["content"] |= page
    paths: Json = {
        "/queues": {
            "get": _operation(
                "queues",
                "All compute sources and tickets, for operators.",
                {200: data},
                *(400, 401, 403),
                parameters=openapi_queues.PARAMETERS,
                security=security,
            )
        }
    }
    for act, (summary, _, _) in openapi_queues.ACTS.items():
        body = {"application/json": {"schema": openapi_queues.body_of(act)}}
        operation = _operation(
            f"queues-{act}",
            summary,
            {status: _json(summary, openapi_queues.answer_of(act)) for status in openapi_queues.ANSWERS[act]},
            *(400, 401, 403, 404, 409, 413, 415, 507),
            security=security,
        )
        paths[f"/queues/{act}"] = {"post": operation | {"requestBody": {"required": True, "content": body}}}
    return paths


OUTPUTS: Json = {
    "type": "object",
    "description": "In which format the result's volumes come; seg.nrrd opens in 3D Slicer as a segmentation, "
    "dicom-seg refers to the images of a DICOM series that was sent.",
    "additionalProperties": False,
    "properties": {"format": {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}},
}


def main_schema(interface: Mapping[str, Mapping[str, Any]]) -> Json:
    """Describe the main.json of a service."""
    inputs: Json = {
        "type": "object",
        "additionalProperties": False,
        "required": [id for id, each in interface.items() if each["required"] and each["store"] == "mainjson"],
        "properties": {id: _value_schema(each) for id, each in interface.items()},
    }
    files = [
        f"file-{id} ({', '.join(each['extensions'])}, or a folder of DICOM images)"
        for id, each in interface.items()
        if each["store"] == "file"
    ]
    return {
        "type": "object",
        "description": f"Beside main.json: {', '.join(files) or 'no files'}.",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {"inputs": inputs, "outputs": OUTPUTS},
    }


def _value_schema(described: Mapping[str, Any]) -> Json:
    rules = {RULES[name]: value for name, value in described.items() if name in RULES and value is not None}
    title = f"{described['name']} ({described['unit']})" if described.get("unit") else described["name"]
    return {**JSON_TYPES[described["type"]], "title": title, **rules}


def _submit(services: Sequence[Mapping[str, Any]]) -> Json:
    name: Json = {"type": "string"}
    if services:
        name["enum"] = [service["name"] for service in services]
    payload = {
        "type": "string",
        "format": "binary",
        "description": "A .tar.gz; the schema `main.json.<service>` describes its main.json and names its files.",
    }
    form = {
        "type": "object",
        "required": ["service", "payload"],
        "additionalProperties": False,
        "properties": {"service": name, "payload": payload},
    }
    reference = {"reference": "{$response.body#/id}&{$response.body#/token}"}
    links = {name: {"operationId": name, "parameters": reference} for name in ("status", "result", "cancel")}
    answer = _json("A ticket.", _ref("Accepted")) | _headers("Location", "Retry-After") | {"links": links}
    operation = _operation(
        "submit",
        "Ask for a service.",
        {202: answer},
        *(400, 401, 403, 404, 413, 415, 422, 429, 507),
        parameters=SUBMIT_HEADERS,
        security=[{}, {"key": []}],
    )
    encoding = {"payload": {"contentType": "application/gzip"}}
    content = {"multipart/form-data": {"schema": form, "encoding": encoding}}
    return operation | {"requestBody": {"required": True, "content": content}}


def _result(parameters: list[Json], security: list[Json]) -> Json:
    archive = {"content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}}
    names = ("Content-Length", "ETag", "Accept-Ranges", "Content-Disposition")
    answers: dict[int, Json] = {
        200: {"description": "The result.", **archive, **_headers(*names)},
        206: {"description": "A range of it.", **archive, **_headers(*names, "Content-Range")},
        304: {"description": "The client has it already.", **_headers("ETag")},
    }
    return _operation(
        "result",
        "Fetch the result.",
        answers,
        *(400, 404, 409, 410, 412, 416),
        parameters=parameters,
        security=security,
    )


def _operation(name: str, summary: str, answers: Mapping[int, Json], *refusals: int, **more: Any) -> Json:
    problems = {
        str(status): {
            "description": TEXTS[status],
            "content": {CONTENT_TYPE: {"schema": _problem(status)}},
            **_headers(*REFUSAL_HEADERS.get(status, []), always=status not in SOMETIMES),
        }
        for status in (*refusals, 500, 503)
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {str(status): answer for status, answer in answers.items()} | problems,
        **more,
    }


def _problem(status: int) -> Json:
    kinds = [f"/problems/{slug}" for slug in KINDS[status]]
    return {"allOf": [_ref("Problem"), {"properties": {"type": {"enum": kinds}}}]}


def _json(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _flag(name: str) -> Json:
    return {"type": "object", "required": [name], "properties": {name: {"const": True}}}


def _file(description: str) -> Json:
    binary = {"type": "string", "format": "binary"}
    return {"description": description, "content": {"application/octet-stream": {"schema": binary}}}


def _headers(*names: str, always: bool = True) -> Json:
    described = {
        name: {"description": HEADER_TEXTS[name], "required": always, "schema": {"type": "string"}} for name in names
    }
    return {"headers": described} if described else {}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
