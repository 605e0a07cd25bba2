"""The trainers of the installed nnunetv2: a checkpoint names the one that built its network."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

from tomaat.refusals import shown
from tomaat.services.folders.folder_refused import FolderRefused

PACKAGE = "nnunetv2"
TRAINER = "nnUNetTrainer"  #: the class that all trainers extend
BUILDING = "build_network_architecture"


def demand_known_trainer(name: str) -> None:
    """Raise ``FolderRefused`` for a trainer that nnunetv2 does not have, where that is installed."""
    if importlib.util.find_spec(PACKAGE) is None or name in trainers():
        return
    raise FolderRefused(
        f"The checkpoint was trained by {shown(name)}, which this nnunetv2 does not have, and a trainer may build "
        "another network. Where it only trains otherwise, write 'nnUNetTrainer' into the checkpoint: docs/nnunet.md."
    )


@cache
def trainers() -> dict[str, bool]:
    """Name the trainers of the installed nnunetv2, and whether each builds its network from the plans alone.

    They are read, not imported: each would bring all that training needs.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    bases: dict[str, list[str]] = {}
    builders: set[str] = set()
    for file in (file for folder in folders for file in Path(folder, "training", TRAINER).rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
                if BUILDING in methods and node.name != TRAINER:
                    builders.add(node.name)
    lines = {name: _ancestors(name, bases) for name in bases}
    return {name: not line & builders for name, line in lines.items() if TRAINER in line}


def _ancestors(name: str, bases: dict[str, list[str]]) -> set[str]:
    """Name a class and all that it extends."""
    return {name}.union(*(_ancestors(base, bases) for base in bases.get(name, [])))
