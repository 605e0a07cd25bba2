"""The parts of the site that are written from the code: the API, the kinds of problem, the settings."""

from __future__ import annotations

from pathlib import Path

from tomaat.web.api.openapi import describe_api
from tomaat.web.http.problems import EXPLANATIONS
from TOMAATSettings import Settings
from tools.api_reference import write_reference

REPOSITORY = Path(__file__).resolve().parents[1]


def write_api() -> str:
    """Write what every server of this version describes, before any service is offered."""
    return write_reference(describe_api([], longest_wait_seconds=Settings.model_fields["LONGEST_WAIT_SECONDS"].default))


def write_problems() -> str:
    """Write each kind of problem, to be linked to."""
    return "\n".join(f"(problem-{slug})=\n### {slug}\n\n{text}\n" for slug, text in EXPLANATIONS.items())


def write_settings() -> str:
    """Take the table over from the README, where a test holds it against the code."""
    readme = (REPOSITORY / "README.md").read_text()
    return readme[readme.index("## Settings\n") :].partition("\n## ")[0].removeprefix("## Settings\n")


#: By the name that stands in the document: `<!-- begin: api -->`.
PARTS = {"api": write_api, "problems": write_problems, "settings": write_settings}
