"""How a shape is written as JSON, and described."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated

import pytest
from annotated_types import Ge
from flask import Flask
from pydantic import with_config
from typing_extensions import NotRequired, TypedDict

from tomaat.web.http.shapes import ShapeWriter, answer, schemas_of


@with_config(title="Known", use_attribute_docstrings=True)
class Inner(TypedDict):
    """Something inside."""

    name: str
    maybe: NotRequired[int]
    """Not always there."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part."""

    at: datetime
    count: Annotated[int, Ge(0)]
    """How many."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """All of it."""

    zebra: tuple[Part, ...]
    """Parts."""
    apple: Inner | None


@pytest.fixture
def app():
    made = Flask("shapes")
    made.json = ShapeWriter(made)
    with made.test_request_context():
        yield made


@pytest.mark.usefixtures("app")
def test_a_shape_is_written_in_the_order_of_its_fields_with_times_in_utc():
    part = Part(at=datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=timezone.utc), count=1)
    written = answer([Whole(zebra=(part,), apple=None)], 202, Retry_After="1")
    assert written.get_data(as_text=True) == (
        '[{"zebra":[{"at":"2026-01-02T03:04:05.678Z","count":1}],"apple":null}]\n'
    )
    assert (written.status_code, written.headers["Retry-After"]) == (202, "1")


@pytest.mark.usefixtures("app")
def test_a_value_that_is_no_part_of_json_is_refused():
    with pytest.raises(TypeError):
        answer(object())


def test_a_shape_is_described_with_its_parts_by_the_names_that_clients_know():
    described = schemas_of(Whole)
    assert described.keys() == {"Whole", "Part", "Known"}
    assert described["Whole"]["description"] == "All of it."
    assert described["Whole"]["required"] == ["zebra", "apple"]
    assert described["Whole"]["properties"] == {
        "zebra": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}, "description": "Parts."},
        "apple": {"anyOf": [{"$ref": "#/components/schemas/Known"}, {"type": "null"}]},
    }
    assert described["Part"]["properties"]["count"] == {"type": "integer", "minimum": 0, "description": "How many."}
    assert described["Known"]["required"] == ["name"]
    assert described["Known"]["properties"]["maybe"] == {"type": "integer", "description": "Not always there."}
