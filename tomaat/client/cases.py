"""The requests of one command line: one, or one for each of a cohort's files."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomaat.client.errors import Unusable, demand_path
from tomaat.client.interface import expanded, extension_of

ALONE = "Send each by a command of its own, with a folder of its own (-o)."


@dataclass(frozen=True)
class Case:
    """One request of a command: its name (empty where there is only one) and its inputs."""

    name: str
    inputs: dict[str, str]


def read_inputs(texts: Sequence[str]) -> dict[str, list[str]]:
    """Take ``id=value`` apart; an id may come several times.

    >>> read_inputs(["scan=a.nii", "cut=0.5", "scan=b.nii"])
    {'scan': ['a.nii', 'b.nii'], 'cut': ['0.5']}
    """
    inputs: dict[str, list[str]] = {}
    for text in texts:
        id, equals, value = text.partition("=")
        if not equals:
            raise Unusable(f"{text}: write an input as <id>=<value>.")
        inputs.setdefault(id, []).append(value)
    return inputs


def cases_of(inputs: Mapping[str, Sequence[str]], interface: Mapping[str, Mapping[str, Any]]) -> list[Case]:
    """Make a case of each file that a pattern fits; with several patterns, of each of their pairs in sorted order.

    All other inputs are the same for all. Raises ``Unusable`` where that cannot be.
    """
    same: dict[str, str] = {}
    many: dict[str, list[tuple[str, str]]] = {}
    for id, texts in inputs.items():
        is_file = interface.get(id, {}).get("store") == "file"
        if is_file and (len(texts) > 1 or is_pattern(texts[0])):
            many[id] = [found for text in texts for found in found_by(id, text)]
        elif len(texts) > 1:
            raise Unusable(f"{id}: it is given {len(texts)} times; only files may be given several times.")
        else:
            same[id] = texts[0]
    if not many:
        return [Case("", same)]
    counts = {id: len(found) for id, found in many.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{id}: {count}" for id, count in counts.items())
        raise Unusable(f"The files cannot be paired: their numbers differ ({told}).")
    first = next(iter(many))
    extensions = interface[first].get("extensions") or []
    cases = []
    for row, (path, below) in enumerate(many[first]):
        files = {id: found[row][0] for id, found in many.items()}
        cases.append(Case(name_of(path, below, extensions), {**same, **files}))
    demand_distinct(cases, first)
    return cases


def is_pattern(text: str) -> bool:
    """Tell whether a text means files by a pattern, and is not a file's own odd name."""
    return glob.has_magic(text) and not Path(expanded(text)).exists()


def found_by(id: str, text: str) -> list[tuple[str, str]]:
    """Find the files that fit, each with the folder below which its name tells it from the others."""
    demand_path(text, id)
    text = expanded(text)
    if not is_pattern(text):
        return [(text, str(Path(text).parent))]
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 (it may begin anywhere)
    if not found:
        raise Unusable(f"{id}: no file fits {text}.")
    parts = Path(text).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    return [(path, str(Path(*parts[:fixed]))) for path in found]


def name_of(path: str, below: str, extensions: Sequence[str]) -> str:
    """Name a case after its file.

    >>> name_of("patients/07/t1.nii.gz", "patients", [".nii", ".nii.gz"]).replace(os.sep, "/")
    '07/t1'
    """
    name = os.path.relpath(path, below or ".")
    extension = extension_of(Path(path), extensions) or ""
    return name[: len(name) - len(extension)]


def demand_distinct(cases: Sequence[Case], id: str) -> None:
    """Raise ``Unusable`` where a case's folder would be another's, above another's, or outside."""
    seen: dict[tuple[str, ...], Case] = {}
    for case in cases:
        parts = Path(case.name.lower()).parts
        if ".." in parts or not parts:
            raise Unusable(f"{id}: {case.inputs[id]} gives no name for its result.")
        other = seen.setdefault(parts, case)
        if other is not case:
            files = [other.inputs[id], case.inputs[id]]
            rule = f"{id}: the results of {files[0]} and {files[1]} would go to one folder."
            raise Unusable(rule, remedy=f"{pattern_of(id, *files)}{ALONE}")
    for parts, case in seen.items():
        for length in range(1, len(parts)):
            if parts[:length] in seen:
                other = seen[parts[:length]]
                rule = f"{id}: the result of {case.inputs[id]} would go into that of {other.inputs[id]}."
                raise Unusable(rule, remedy=ALONE)


def pattern_of(id: str, one: str, other: str) -> str:
    """Say by which pattern two files of one name are told apart by their folders; nothing where none does.

    >>> pattern_of("scan", "in/anna/t1.nii", "in/bert/t1.nii")
    "Give them by one pattern, so that their folders tell them apart: 'scan=in/*/t1.nii'. Or: "
    """
    parts = [Path(path).parts for path in (one, other)]
    if parts[0][-1] != parts[1][-1] or len(parts[0]) != len(parts[1]):
        return ""
    pattern = Path(*(first if first == second else "*" for first, second in zip(*parts)))
    return f"Give them by one pattern, so that their folders tell them apart: '{id}={pattern.as_posix()}'. Or: "
