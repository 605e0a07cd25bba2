"""Shapes of JSON: each is declared once, as a frozen dataclass, which a view returns and from which OpenAPI is made.

The text below a field describes it to clients.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timezone
from typing import Any

from flask import Response, jsonify
from flask.json.provider import DefaultJSONProvider
from pydantic import ConfigDict, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Json = dict[str, Any]

REFERENCE = "#/components/schemas/"


class ShapeWriter(DefaultJSONProvider):
    """Writes shapes as JSON: keys in the order of the fields, times as RFC 3339."""

    sort_keys = False

    @staticmethod
    def default(value: Any) -> Any:
        """Turn a part of a shape into JSON's own types."""
        if isinstance(value, datetime):
            return moment(value)
        if dataclasses.is_dataclass(value):
            return vars(value)
        return DefaultJSONProvider.default(value)


def answer(shape: Any, status: int = 200, **headers: str) -> Response:
    """Make the answer that holds a shape, or a list of shapes; in names of headers write _ for -."""
    made = jsonify(shape)
    made.status_code = status
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    return made


def moment(time: datetime) -> str:
    """Write a time as RFC 3339 in UTC.

    >>> moment(datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc))
    '2026-01-02T03:04:05.678Z'
    """
    return time.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def schemas_of(*shapes: type) -> dict[str, Json]:
    """Describe shapes, and the shapes in them, as JSON Schema, by their titles: the names that clients know."""
    read_texts = ConfigDict(use_attribute_docstrings=True)
    _, described = TypeAdapter.json_schemas(
        # A list of a shape, since a dataclass itself is given no configuration.
        [(shape, "serialization", TypeAdapter(list[shape], config=read_texts)) for shape in shapes],  # type: ignore[valid-type]
        ref_template=REFERENCE + "{model}",
        schema_generator=_Untitled,
    )
    text = json.dumps(described["$defs"])
    for name, schema in described["$defs"].items():
        text = text.replace(f'"{REFERENCE}{name}"', f'"{REFERENCE}{schema["title"]}"')
    return {schema.pop("title"): schema for schema in json.loads(text).values()}


class _Untitled(GenerateJsonSchema):
    """Gives no field a title: it would only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (of no field)
        return False
