"""The texts of the command line: for people in lines, for programs in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomaat.client.cohort import Errand
from tomaat.client.result import Result
from tomaat.client.step import seconds_text

OWN_TEXTS = {
    "intended_use": "intended use",
    "version": "version",
    "licence": "licence",
    "reference": "reference",
    "contact": "contact",
    "kind": "kind",
    "weights_sha256": "weights (SHA-256)",
}


def service_lines(service: Mapping[str, Any]) -> list[str]:
    """Describe a service, and how each of its inputs is written."""
    if not service.get("available", True):
        queue = f"  ({service.get('why_unavailable') or 'no compute source offers it now'})"
    else:
        queue = f"  ({service['waiting']} ahead of a new one)" if service.get("waiting") else ""
    lines = [f"{service['name']}  {service.get('description', '')}{queue}"]
    written = {id: input_text(declared) for id, declared in service["interface"].items()}
    width = max(map(len, written.values()), default=0)
    lines += [f"  {text:<{width}}  {about(service['interface'][id])}" for id, text in written.items()]
    return lines


def own_text_lines(service: Mapping[str, Any]) -> list[str]:
    """Tell what its author says of a service: its intended use, and whom to cite and to ask."""
    texts = {title: service.get(key) for key, title in OWN_TEXTS.items()}
    return [f"  {title}: {text}" for title, text in texts.items() if text]


def input_text(declared: Mapping[str, Any]) -> str:
    """Write an input as it is given; in brackets where it may be left out.

    >>> input_text({"id": "cut", "type": "float", "required": False, "default": 0.5})
    '[cut=0.5]'
    """
    value = str(declared["type"]).upper() if declared.get("default") is None else json.dumps(declared["default"])
    text = f"{declared['id']}={value.strip(chr(34))}"
    return text if declared["required"] else f"[{text}]"


def about(declared: Mapping[str, Any]) -> str:
    """Write the meaning of an input, and the values that it takes."""
    low, high, unit = declared.get("minimum"), declared.get("maximum"), declared.get("unit") or ""
    rules = [rule for key in ("choices", "modalities", "extensions") for rule in declared.get(key) or []]
    if low is not None and high is not None:
        rules.append(f"{low:g} to {high:g} {unit}".rstrip())
    elif low is not None or high is not None:
        rules.append(f"{f'{low:g} or more' if high is None else f'{high:g} or less'} {unit}".rstrip())
    elif unit:
        rules.append(unit)
    if declared.get("coordinates"):
        rules.append(f"x,y,z;x,y,z in {declared['coordinates']}")
    return str(declared["name"]) + (f" ({', '.join(rules)})" if rules else "")


def state_text(status: Mapping[str, Any]) -> str:
    """Write where a ticket stands.

    >>> state_text({"state": "queued", "position": 3, "eta_seconds": 200.0})
    'queued, 2 ahead, done in about 3 min'
    """
    parts = [str(status["state"])]
    if status.get("position"):
        parts.append(f"{status['position'] - 1} ahead" if status["position"] > 1 else "next")
    if status["state"] == "running" and status.get("progress") is not None:
        parts.append(f"{status['progress']:.0%} {status.get('stage') or ''}".strip())
    if status.get("eta_seconds") is not None:
        parts.append(f"done in about {seconds_text(status['eta_seconds'])}")
    if status.get("why_waiting"):
        parts.append(str(status["why_waiting"]))
    if status.get("error"):
        parts.append(str(status["error"].get("detail")))
    return ", ".join(parts)


def result_lines(result: Result) -> list[str]:
    """Name each output: its value, or its file and the labels in it; then what the server remarks on the inputs."""
    lines = []
    for name, value in result.items():
        shown = value if isinstance(value, (str, Path)) else json.dumps(value)
        lines.append(f"{name}: {shown}")
        labels = result.outputs[name].get("labels") or []
        lines += [f"  {label.get('name')}: {label.get('ml', 0):,.1f} ml" for label in labels]
    return lines + [f"remark: {remark.get('detail')}" for remark in result.remarks]


def errand_as_json(errand: Errand) -> dict[str, Any]:
    """Describe an errand; without its token."""
    note = errand.place.note() or {}
    outputs = None
    if errand.result is not None:
        outputs = {name: str(value) if isinstance(value, Path) else value for name, value in errand.result.items()}
    return {
        "name": errand.name,
        "label": note.get("label"),
        "folder": str(errand.place.folder),
        "service": note.get("service"),
        "id": note.get("id"),
        "state": errand.state,
        "skipped": errand.skipped,
        "outputs": outputs,
        "remarks": None if errand.result is None else errand.result.remarks,
        "error": None if errand.error is None else errand.error.problem,
        "exit_code": errand.exit_code,
    }
