"""Write the types of the JSON that the page reads, from its declarations: ``python -m tools.page_types``.

The page's modules name them in comments, and the checks of the page hold the modules against them.
"""

from __future__ import annotations

import json
from pathlib import Path

from tomaat.web.api.shapes import Accepted, Service, Status
from tomaat.web.http.shapes import REFERENCE, Json, schemas_of
from tomaat.web.operator.shapes import Queues

FILE = Path(__file__).resolve().parents[1] / "tomaat/web/page/static/shapes.d.ts"
HEAD = (
    "/** The JSON that the API sends and the page reads. Written by tools/page_types.py: change the shapes there. */\n"
)
SCALARS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def page_types() -> str:
    """Write each shape that the page reads, and those that they consist of, as an interface of TypeScript."""
    schemas = schemas_of(Service, Accepted, Status, Queues)
    return "\n".join([HEAD, *(_interface(name, schemas[name]) for name in sorted(schemas))])


def _interface(name: str, schema: Json) -> str:
    lines = [*_comment(schema, ""), f"export interface {name} {{"]
    for key, each in schema["properties"].items():
        optional = "" if key in schema.get("required", []) else "?"
        lines += [*_comment(each, "  "), f"  {key}{optional}: {_type(each)};"]
    return "\n".join([*lines, "}", ""])


def _comment(schema: Json, indent: str) -> list[str]:
    return [f"{indent}/** {schema['description']} */"] if "description" in schema else []


def _type(schema: Json) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REFERENCE)
    if "anyOf" in schema:
        return " | ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if schema.get("type") == "array":
        each = _type(schema["items"])
        return f"({each})[]" if " | " in each else f"{each}[]"
    if schema.get("type") == "object":
        values = schema["additionalProperties"]
        return f"Record<string, {'any' if values is True else _type(values)}>"
    return SCALARS[schema["type"]] if "type" in schema else "any"


if __name__ == "__main__":
    FILE.write_text(page_types(), encoding="utf-8")
