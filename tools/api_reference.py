"""Write the API's own description (``/openapi.json``) as Markdown, address by address."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
SERVER = "http://127.0.0.1:5000"
SCHEMA = "#/components/schemas/"
EXAMPLES: Json = {"integer": 42, "number": 1.5, "boolean": True, "array": [], "object": {}}
BOUNDS = {"minimum": "from", "maximum": "to"}
JOINED = {"allOf": " and ", "anyOf": " or ", "oneOf": " or "}
#: What an example has in the place of a parameter in the path; the others are shown by their names.
IN_PATH = {"reference": "42&…", "slug": "not-ready"}


def write_reference(api: Json) -> str:
    """Write every operation, and then the schemas that they name."""
    lines = [api["info"]["description"], "", "## Addresses", ""]
    operations = list(_operations(api))
    rows = [
        [f"[`{method.upper()} {path}`](#{each['operationId']})", each["summary"]] for method, path, each in operations
    ]
    lines += _table(["address", "what for"], rows)
    for method, path, operation in operations:
        lines += _operation(method, path, operation)
    lines += ["## Schemas", ""]
    for name, schema in api["components"]["schemas"].items():
        lines += [f"({_anchor(name)})=", f"### {name}", "", *_object(schema)]
    return "\n".join(lines)


def _operations(api: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in api["paths"].items():
        for method in METHODS:
            if method in item:
                shared = item.get("parameters", [])
                yield method, path, {**item[method], "parameters": [*shared, *item[method].get("parameters", [])]}


def _operation(method: str, path: str, operation: Json) -> list[str]:
    lines = [f"({operation['operationId']})=", f"### {method.upper()} {path}", "", operation["summary"], ""]
    if "description" in operation:
        lines += [operation["description"], ""]
    lines += ["```sh", _curl(method, path, operation), "```", ""]
    parameters = [
        [f"`{each['name']}`", each["in"], _type(each["schema"]), each.get("description", "")]
        for each in operation["parameters"]
    ]
    lines += _table(["parameter", "in", "type", "meaning"], parameters)
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        lines += [f"The body is `{media_type}`:", "", *_object(body["schema"])]
    answers = [
        [f"**{status}**", answer["description"], _content(answer), _names(answer.get("headers", {}))]
        for status, answer in sorted(operation["responses"].items())
    ]
    return lines + _table(["answer", "when", "with", "headers"], answers)


def _curl(method: str, path: str, operation: Json) -> str:
    for name, value in IN_PATH.items():
        path = path.replace(f"{{{name}}}", value)
    words = ["curl"] + (["-X", method.upper()] if method in {"put", "patch", "delete"} else [])
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        words += ["-F service=FloatComputation -F payload=@examples/payload_float_add.tar.gz \\\n "]
    elif "application/json" in content:
        example = content["application/json"].get("example") or _example(content["application/json"]["schema"])
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(example, ensure_ascii=False)}'"]
    if "application/gzip" in operation["responses"].get("200", {}).get("content", {}):
        words += ["--fail -o result.tar.gz"]
    return " ".join([*words, f'"{SERVER}{path}"' if "&" in path else f"{SERVER}{path}"])


def _example(schema: Json) -> dict[str, Any]:
    """Make a body that has each key of a schema that must be there."""
    kinds = {name: schema["properties"][name].get("type") for name in schema.get("required", [])}
    return {name: EXAMPLES.get(str(kind), "…") for name, kind in kinds.items()}


def _content(answer: Json) -> str:
    shown = []
    for media_type, body in answer.get("content", {}).items():
        kinds = _kinds(body["schema"])
        links = ", ".join(f"[{kind}](#problem-{kind})" for kind in kinds)
        shown.append(links or f"{_type(body['schema'])} as `{media_type}`")
    return "; ".join(shown)


def _kinds(schema: Json) -> list[str]:
    """Name the kinds of problem of an answer's schema."""
    for part in schema.get("allOf", []):
        if "type" in part.get("properties", {}):
            return [kind.removeprefix("/problems/") for kind in part["properties"]["type"]["enum"]]
    return []


def _object(schema: Json) -> list[str]:
    """Describe a schema, and each of its properties as a row."""
    lines = [schema["description"], ""] if "description" in schema else []
    required = schema.get("required", [])
    rows = [
        [f"`{name}`", _type(each), "yes" if name in required else "", each.get("description", "")]
        for name, each in schema.get("properties", {}).items()
    ]
    return lines + _table(["key", "type", "always there", "meaning"], rows)


def _type(schema: Json) -> str:
    """Say in a few words what a value is."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SCHEMA)
        return f"[{name}](#{_anchor(name)})"
    for key, word in JOINED.items():
        if key in schema:
            return word.join(_type(part) for part in schema[key])
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kinds = schema.get("type", "anything")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    parts = [text, *(f"{word} {schema[key]:g}" for key, word in BOUNDS.items() if key in schema)]
    if text == "array":
        parts = [f"list of {_type(schema.get('items', {}))}"]
    elif text == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        parts = [f"object, each value {_type(schema['additionalProperties'])}"]
    elif text == "object" and "properties" in schema:
        parts = ["object of " + ", ".join(f"`{name}`" for name in schema["properties"])]
    return " ".join(parts)


def _anchor(name: str) -> str:
    return f"schema-{name.lower()}"


def _names(headers: Json) -> str:
    return ", ".join(f"`{name}`" for name in headers)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table; nothing where it has no rows."""
    if not rows:
        return []
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells] + [""]
