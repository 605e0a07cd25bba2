"""The guards of this repository, by room: ``<room>.toml`` says of each how it is removed, and which tests notice."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[1]
REPORT = REPOSITORY / "docs/evidence/mutants.md"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One guard removed: ``old`` becomes ``new``, once, in ``file``; ``tests`` should notice."""

    guard: str
    file: str
    old: str
    new: str
    tests: list[str]


def read_all() -> list[Mutant]:
    """Read the files of all rooms; raise ``TypeError`` for a mutant that lacks a key or has another one."""
    tables = (tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml")))
    return [Mutant(**each) for table in tables for each in table["mutant"]]
