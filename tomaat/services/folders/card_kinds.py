"""The kinds of network folders that are one file of a network and a card beside it.

Cards are read by pydantic, which takes a worker a third of a second to import: it does so only where there is a card.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from tomaat.services.folders.card_files import CARD, files_of
from tomaat.services.folders.kind import Kind

if TYPE_CHECKING:
    from tomaat.services.folders.card_task import CardTask


def is_card_of(suffixes: tuple[str, ...], place: Path) -> bool:
    """Tell whether a folder has a card, and beside it a file of one of the suffixes."""
    return (place / CARD).is_file() and bool(files_of(place, suffixes))


def make(task: str, suffixes: tuple[str, ...], place: Path, name: str) -> type[CardTask]:
    """Make the class of a folder's service, by the name of its task's class. Raises ``FolderRefused``."""
    from tomaat.services.folders import card_folders  # noqa: PLC0415 (as the module says)

    return card_folders.make_task_of(getattr(card_folders, task), suffixes, place, name)


def _kind(
    name: str, task: str, suffixes: tuple[str, ...], trust: str | None, *, package: str, requirements: str
) -> Kind:
    return Kind(
        name=name,
        is_one=functools.partial(is_card_of, suffixes),
        make=functools.partial(make, task, suffixes),
        needs_trust=lambda _: trust,
        package=package,
        requirements=requirements,
    )


ONNX = _kind("ONNX", "OnnxTask", (".onnx",), None, package="onnxruntime", requirements="requirements-onnx.txt")
TORCHSCRIPT = _kind(
    "TorchScript",
    "TorchScriptTask",
    (".ts", ".pt", ".torchscript"),
    "A TorchScript file is a program, which torch runs as its author wrote it.",
    package="torch",
    requirements="requirements.txt",
)
EXPORTED = _kind(
    "torch.export",
    "ExportedTask",
    (".pt2",),
    "A file of torch.export is a program, and torch's reader of it is no barrier against a hostile one.",
    package="torch",
    requirements="requirements.txt",
)
