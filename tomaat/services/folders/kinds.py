"""All kinds of network folders, and the task of one folder."""

from __future__ import annotations

from pathlib import Path

from tomaat.contents.network_folder import state_of
from tomaat.services.folders.bundle import BUNDLE
from tomaat.services.folders.card_kinds import EXPORTED, ONNX, TORCHSCRIPT
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask
from tomaat.services.folders.kind import Kind
from tomaat.services.folders.nnunet import NNUNET

KINDS: tuple[Kind, ...] = (NNUNET, BUNDLE, ONNX, TORCHSCRIPT, EXPORTED)


def kind_of(place: Path) -> Kind:
    """Tell which kind of network a folder holds. Raises ``FolderRefused`` where it is none, or several."""
    found = [kind for kind in KINDS if kind.is_one(place)]
    if not found:
        raise FolderRefused(
            f"{place.name} holds no network that is known here: a folder of nnU-Net has plans.json, a MONAI bundle "
            "configs/metadata.json; any other network is a file *.onnx, *.ts, *.pt or *.pt2 beside a card, tomaat.yaml."
        )
    if len(found) > 1:
        names = " and ".join(kind.name for kind in found)
        raise FolderRefused(f"{place.name} holds the files of {names}; put each into a folder of its own.")
    return found[0]


def make_task(place: Path, name: str | None = None) -> FolderTask:
    """Make the task of a network folder; its service is called ``name``, by default as the folder is.

    Raises ``FolderRefused``.
    """
    for each in place.rglob("*"):
        if each.is_symlink() and each.is_dir():
            raise FolderRefused(
                f"{place.name}: {each.relative_to(place)} is a link to a folder, so its files have no part in the "
                "folder's hash; put the files themselves there."
            )
    state = state_of(place)
    kind = kind_of(place)
    made = kind.make(place, name or place.name)
    made.place, made.of_kind, made.kind, made.state = place, kind, kind.name, state
    return made()
