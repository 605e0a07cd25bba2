"""Describe the API as OpenAPI 3.1, services and their inputs included."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tomaat import __version__
from tomaat.tickets.states import STATES
from tomaat.web.api.form import LABEL, PRIORITY
from tomaat.web.api.label import LABEL_SCHEMA
from tomaat.web.api.main_json import form_schema, main_schema
from tomaat.web.api.priority import PRIORITY_SCHEMA
from tomaat.web.api.results import ANY_TYPE, GZIP, TYPES
from tomaat.web.api.shapes import Accepted, Explanation, Files, Service, Status
from tomaat.web.http.access import HEADER as KEY_HEADER
from tomaat.web.http.openapi import content_answer, headers, operation, path_parameter, shape_answer
from tomaat.web.http.problems import ProblemDetails
from tomaat.web.http.shapes import Json, schemas_of
from tomaat.web.operator import openapi as operator
from tomaat.web.page import openapi as page
from tomaat.web.watch import openapi as watch

SHAPES = (Accepted, Status, Files, Service, *operator.SHAPES, ProblemDetails, Explanation, *page.SHAPES, *watch.SHAPES)
FILE: Json = {"type": "string", "format": "binary"}
REFERENCE = path_parameter(
    "reference",
    description="`<id>&<token>`, or `<id>` with `Authorization: Bearer <token>`.",
)
WHILE_STATE = {
    "name": "state",
    "in": "query",
    "description": "With wait: answer when the state is not this one. Without: when the ticket has ended.",
    "schema": {"type": "string", "enum": list(STATES)},
}
RESULT_REQUEST_HEADERS = [
    {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    for name, description in {
        "Range": "One range, such as `bytes=0-1023`; anything else is answered whole.",
        "If-Range": "Send the range only of the file with this ETag, else all of it.",
        "If-None-Match": "Send nothing (304) if the file has this ETag.",
        "If-Match": "Send nothing (412) unless the file has this ETag.",
    }.items()
]
SUBMIT_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The client's own random name for this request: sent again with the same payload, it gives the "
        "same ticket, whose label and priority stay the first ones.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    }
]
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


def describe_api(services: Sequence[Service], *, longest_wait_seconds: float) -> Json:
    """Make the document."""
    mains = {f"main.json.{service.name}": main_schema(service.interface) for service in services}
    forms = {f"form.{service.name}": form_schema(service.name, service.interface) for service in services}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TOMAAT",
            "version": __version__,
            "description": "Send the inputs, get a ticket, fetch a `.tar.gz`. Each input is a field of the form, "
            'or a `payload`, a `.tar.gz`, holds them all: `main.json` = `{"inputs": {"<id>": value}}` and one '
            "`file-<id>.<ext>` for each file input. Every answer says "
            "`Cache-Control: no-store` and `Referrer-Policy: no-referrer`. HEAD is taken wherever GET is.",
        },
        "paths": {
            **page.paths(),
            "/request": {"post": _submit(services)},
            **_ticket(longest_wait_seconds),
            "/supportedservices": {
                "get": operation(
                    "services",
                    "The services and their inputs.",
                    {200: shape_answer("The services.", Service, many=True)},
                )
            },
            **operator.paths(),
            **watch.paths(),
            **_looked_up(),
        },
        "components": {"schemas": {**schemas(), **mains, **forms}, "securitySchemes": SECURITY_SCHEMES},
    }


@cache
def schemas() -> dict[str, Json]:
    """Describe all shapes, by their names."""
    return schemas_of(*SHAPES)


def _submit(services: Sequence[Service]) -> Json:
    name: Json = {"type": "string"}
    if services:
        name["enum"] = [service.name for service in services]
    payload = FILE | {
        "description": "A .tar.gz; the schema `main.json.<service>` describes its main.json and names its files."
    }
    form = {
        "type": "object",
        "description": "Each input is a field of its id: the schema `form.<service>` lists them. Or all inputs come in "
        "one `payload`, and no inputs beside it.",
        "required": ["service"],
        "properties": {"service": name, LABEL: LABEL_SCHEMA, PRIORITY: PRIORITY_SCHEMA, "payload": payload},
        "additionalProperties": {"description": "An input; a file, or several files, for a volume."},
    }
    reference = {"reference": "{$response.body#/id}&{$response.body#/token}"}
    links = {name: {"operationId": name, "parameters": reference} for name in ("status", "result", "files", "cancel")}
    content: Json = {
        "schema": form,
        "encoding": {"payload": {"contentType": "application/gzip"}},
        "examples": {service.name: {"value": _example_form(service)} for service in services if service.example},
    }
    body = {"required": True, "content": {"multipart/form-data": content}}
    return operation(
        "submit",
        "Ask for a service.",
        {202: shape_answer("A ticket.", Accepted, **headers("Location", "Retry-After"), links=links)},
        *(400, 401, 403, 404, 408, 413, 415, 422, 429, 507),
        parameters=SUBMIT_HEADERS,
        security=[{}, {"key": []}],
        requestBody=body,
    )


def _example_form(service: Service) -> Json:
    """Write a service's example as the fields of a form; a volume by the names of its files, as curl has them."""
    values = {
        id: [f"@{value['file'].rpartition('/')[2]}"] if service.interface[id]["type"] == "volume" else value
        for id, value in service.example.items()
    }
    return {"service": service.name, **values}


def _ticket(longest_wait_seconds: float) -> Json:
    """Describe the addresses of a ticket, which the holder of its token may ask."""
    security: list[Json] = [{}, {"token": []}]
    wait = {
        "name": "wait",
        "in": "query",
        "description": "Seconds to wait before answering; the server may answer sooner, with Retry-After.",
        "schema": {"type": "number", "minimum": 0, "maximum": longest_wait_seconds},
    }
    later = headers("Retry-After", always=False)
    cancel = operation(
        "cancel",
        "Give a ticket up; idempotent.",
        {200: shape_answer("It is over.", Status), 202: shape_answer("Asked for.", Status, **later)},
        404,
        security=security,
    )
    status = operation(
        "status",
        "Where a ticket stands.",
        {200: shape_answer("Its status.", Status, **later)},
        *(400, 404),
        parameters=[wait, WHILE_STATE],
        security=security,
    )
    result = operation(
        "result",
        "Fetch the result.",
        _sent("The result.", GZIP),
        *(400, 404, 409, 410, 412, 416),
        parameters=[wait, *RESULT_REQUEST_HEADERS],
        security=security,
    )
    result_file = operation(
        "resultfile",
        "Fetch one file of the result; this does not count as fetching the result.",
        _sent("The file.", *sorted({*TYPES.values(), ANY_TYPE})),
        *(400, 404, 409, 410, 412, 416),
        parameters=[wait, *RESULT_REQUEST_HEADERS],
        security=security,
    )
    input_file = operation(
        "inputfile",
        "Fetch a volume that was sent, as the service reads it: NIfTI. It is made when it is asked for first.",
        _sent("The volume.", GZIP),
        *(400, 404, 409, 410, 412, 416, 507),
        parameters=[wait, *RESULT_REQUEST_HEADERS],
        security=security,
    )
    files = operation(
        "files",
        "The files that can be fetched one by one.",
        {200: shape_answer("Its files.", Files)},
        404,
        security=security,
    )
    name = path_parameter("name", description="Of a file, as `files` lists it.")
    volume = path_parameter("name", description="`<id of the input>.nii.gz`.")
    return {
        "/request/{reference}": {"parameters": [REFERENCE], "delete": cancel},
        "/status/{reference}": {"parameters": [REFERENCE], "get": status},
        "/result/{reference}": {"parameters": [REFERENCE], "get": result},
        "/result/{reference}/{name}": {"parameters": [REFERENCE, name], "get": result_file},
        "/input/{reference}/{name}": {"parameters": [REFERENCE, volume], "get": input_file},
        "/files/{reference}": {"parameters": [REFERENCE], "get": files},
    }


def _sent(what: str, *types: str) -> dict[int, Json]:
    content = dict.fromkeys(types, FILE)
    names = ("Content-Length", "ETag", "Accept-Ranges", "Content-Disposition")
    return {
        200: content_answer(what, content, **headers(*names)),
        206: content_answer("A range of it.", content, **headers(*names, "Content-Range")),
        304: {"description": "The client has it already.", **headers("ETag")},
    }


def _looked_up() -> Json:
    """Describe the addresses that the answers of others name."""
    volume = content_answer("The volume.", {"application/octet-stream": FILE})
    document = content_answer("OpenAPI 3.1.", {"application/json": {"type": "object"}})
    explanation = shape_answer("Its explanation.", Explanation)
    return {
        "/examples/{name}": {
            "parameters": [path_parameter("name")],
            "get": operation("example", "A volume to try a service with.", {200: volume}, 404),
        },
        "/openapi.json": {"get": operation("openapi", "This document.", {200: document})},
        "/problems/{slug}": {
            "parameters": [path_parameter("slug")],
            "get": operation("explain", "The meaning of a kind of problem.", {200: explanation}, 404),
        },
    }
