"""The parts of the site that are written from the code: the API, the kinds of problem, the settings."""

from __future__ import annotations

from pathlib import Path

from pydantic.fields import FieldInfo

from tomaat.web.api.openapi import describe_api
from tomaat.web.http.problems import EXPLANATIONS
from TOMAATSettings import GROUPS, HOME, Settings
from tools.api_reference import write_reference

REPOSITORY = Path(__file__).resolve().parents[1]


def write_api() -> str:
    """Write what every server of this version describes, before any service is offered."""
    return write_reference(describe_api([], longest_wait_seconds=Settings.model_fields["LONGEST_WAIT_SECONDS"].default))


def write_problems() -> str:
    """Write each kind of problem, to be linked to."""
    return "\n".join(f"(problem-{slug})=\n### {slug}\n\n{text}\n" for slug, text in EXPLANATIONS.items())


def write_settings() -> str:
    """Write a table for each group of settings."""
    lines = []
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines += ["", f"### {GROUPS[name]}", "", "| variable | default | meaning |", "| --- | --- | --- |"]
        lines.append(f"| `TOMAAT_{name}` | {_default(name, field)} | {field.description} |")
    return "\n".join(lines) + "\n\n"


def _default(name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if name == "HOST_NAME":
        return "the host's name"
    if default is None:
        return "unset"
    beside = isinstance(default, Path) and default.is_relative_to(HOME)
    return f"`{default.name if beside else default}`"


#: By the name that stands in the document: `<!-- begin: api -->`.
PARTS = {"api": write_api, "problems": write_problems, "settings": write_settings}


def fill_parts(text: str) -> str:
    """Write each generated part into its place in a document."""
    for name, written in PARTS.items():
        before, begin, rest = text.partition(f"<!-- begin: {name} -->\n")
        _, end, after = rest.partition(f"<!-- end: {name} -->")
        if begin:
            text = before + begin + written() + end + after
    return text


if __name__ == "__main__":  # the README has its parts without a site, too
    readme = REPOSITORY / "README.md"
    readme.write_text(fill_parts(readme.read_text()))
