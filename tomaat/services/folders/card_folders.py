"""The tasks of network folders that are one file of a network and a card beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from Inputs import BooleanInput, FloatInput
from tomaat.refusals import shown
from tomaat.services.folders.card import CUT, MIRRORING, Card
from tomaat.services.folders.card_files import CARD, files_of
from tomaat.services.folders.card_reading import line_of, read_card
from tomaat.services.folders.card_task import CardTask
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.onnx_data import demand_data_inside

#: What a card tells about its service.
TOLD = ("description", "version", "deadline_seconds", "intended_use", "licence", "reference", "contact")


class OnnxTask(CardTask):
    """A service of an ONNX file."""

    packages = ("onnxruntime", "onnxruntime-gpu", "torch")

    def open_network(self, device: Any) -> Any:
        """Open the file by onnxruntime."""
        from tomaat.services.folders.onnx_network import OnnxNetwork  # noqa: PLC0415 (only a worker has the package)

        return OnnxNetwork(self.file, device)


class TorchScriptTask(CardTask):
    """A service of a TorchScript file."""

    packages = ("torch",)

    def open_network(self, device: Any) -> Any:
        """Open the file by torch."""
        from tomaat.services.folders.torch_network import ScriptedNetwork  # noqa: PLC0415 (only a worker loads torch)

        return ScriptedNetwork(self.file, device)


class ExportedTask(CardTask):
    """A service of a file of ``torch.export``."""

    packages = ("torch",)

    def open_network(self, device: Any) -> Any:
        """Open the file by torch."""
        from tomaat.services.folders.torch_network import ExportedNetwork  # noqa: PLC0415 (only a worker loads torch)

        return ExportedNetwork(self.file, device)


def make_task_of(base: type[CardTask], suffixes: tuple[str, ...], place: Path, name: str) -> type[CardTask]:
    """Make the class of a folder's service. Raises ``FolderRefused``."""
    card = read_card(place)
    file = network_file(place, card, suffixes)
    _demand_content(place, file, base)
    inputs: list[Any] = [each.declared() for each in card.inputs]
    if card.output.kind == "sigmoid":
        inputs.append(
            FloatInput(CUT, "Probability above which a voxel counts", minimum=0.0, maximum=1.0, default=card.output.cut)
        )
    if card.mirroring:
        passes = 2 ** len(card.mirroring)
        about = f"The network is asked {passes} times, and the mean taken. Without it, it takes 1/{passes} as long."
        inputs.append(BooleanInput(MIRRORING, "Mirror the volumes", default=True, description=about))
    told = {each: getattr(card, each) for each in TOLD}
    return type(base.__name__, (base,), {"task_identifier": name, "card": card, "file": file, "inputs": inputs, **told})


def network_file(place: Path, card: Card, suffixes: tuple[str, ...]) -> Path:
    """Choose the network's file: the card's own, or the only one. Raises ``FolderRefused``."""
    there = files_of(place, suffixes)
    if card.network is not None:
        chosen = [file for file in there if file.name == card.network]
        if not chosen:
            names = ", ".join(file.name for file in there)
            raise FolderRefused(
                f"{place.name}/{CARD}, line {line_of(place, 'network')}: network: {shown(card.network)} is no such "
                f"file of the folder; there is {names}."
            )
        return chosen[0]
    if len(there) != 1:
        names = ", ".join(file.name for file in there) or "none"
        raise FolderRefused(
            f"{place.name} holds {len(there)} networks: {names}; say which by network: in its {CARD}, or leave one."
        )
    return there[0]


def _demand_content(place: Path, file: Path, base: type[CardTask]) -> None:
    """Tell a file that has only the ending of its kind, or that leads out of its folder. Raises ``FolderRefused``.

    A folder is looked at before ``add`` copies it, which would make a file of the folder out of a link.
    """
    if base is OnnxTask:
        demand_data_inside(file)
        return
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise FolderRefused(f"{place.name}/{file.name} is no file of torch: {error}; export it anew.") from error
    scripted, exported = "constants.pkl" in names, "archive_format" in names
    if base is ExportedTask and not exported:
        raise FolderRefused(f"{place.name}/{file.name} is none of torch.export.save; write it by that.")
    if base is TorchScriptTask and exported:
        raise FolderRefused(f"{place.name}/{file.name} was written by torch.export.save; name it *.pt2.")
    if base is TorchScriptTask and not scripted:
        raise FolderRefused(
            f"{place.name}/{file.name} holds weights alone, and no network: export it to ONNX, or write a task "
            "(docs/tutorial.md)."
        )
