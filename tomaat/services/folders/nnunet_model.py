"""A trained-model folder of nnU-Net v2, as ``plans.json``, ``dataset.json`` and its checkpoints describe it.

No package of nnU-Net is needed. The format is that of nnunetv2 2.8.1 (``PlansManager``, ``LabelManager``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomaat.refusals import shown
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.nnunet_checkpoint import NnunetCheckpoint, read_checkpoint
from tomaat.services.folders.nnunet_labels import NnunetLabels, read_labels

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")  #: the first that a fold has is the one that serves
FOLD = re.compile(r"fold_(\d+|all)")
REORIENTING = "NibabelIOWithReorient"  #: the reader that turns volumes to RAS, and results back
READERS = ("SimpleITKIO", "NibabelIO", REORIENTING)  #: of volumes; the others read photographs and TIFF
#: Classes that plans may name freely. No name may lead on from one of their modules: ``torch.nn.functional.torch.hub``.
OWN_CLASSES = re.compile(
    r"dynamic_network_architectures\.architectures\.\w+\.[A-Z]\w*|torch\.nn(\.modules\.\w+)?\.[A-Z]\w*"
)
SPATIAL = 3  #: axes of a volume


@dataclass(frozen=True, kw_only=True)
class NnunetModel:
    """What a folder says of its network."""

    plans: dict[str, Any]
    dataset: dict[str, Any]
    checkpoint: NnunetCheckpoint  #: of the first fold; the others agree with it
    checkpoint_name: str
    folds: tuple[str, ...]  #: ``"0"``, ``"1"``, ... or ``"all"``
    channels: tuple[str, ...]  #: names, in the order of the network's channels
    labels: NnunetLabels
    code: tuple[str, ...]  #: functions and classes that only a trusted folder may name

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration of the plans that the network was trained with."""
        return resolved(self.plans, self.checkpoint.configuration)

    @property
    def reorients(self) -> bool:
        """Whether the network knows volumes in RAS only."""
        return bool(self.plans["image_reader_writer"] == REORIENTING)

    @property
    def together(self) -> tuple[str, ...]:
        """The folds whose mean is the answer unless one is asked for: as nnU-Net has it, ``all`` is none of several."""
        return tuple(fold for fold in self.folds if fold != "all") or self.folds


def read_model(place: Path) -> NnunetModel:
    """Read a folder. Raises ``FolderRefused`` for one that cannot serve."""
    plans, dataset = _read_json(place / "plans.json"), _read_json(place / "dataset.json")
    name, folds = _folds(place)
    checkpoints = {fold: read_checkpoint(place / f"fold_{fold}" / name) for fold in folds}
    first = checkpoints[folds[0]]
    for fold, other in checkpoints.items():
        if (other.trainer, other.configuration) != (first.trainer, first.configuration):
            raise FolderRefused(
                f"fold_{fold} was trained by {shown(other.trainer)} with {shown(other.configuration)}, fold_{folds[0]} "
                f"by {shown(first.trainer)} with {shown(first.configuration)}; put them into folders of their own."
            )
    configuration = resolved(plans, first.configuration)
    _check(plans, configuration, first.configuration)
    return NnunetModel(
        plans=plans,
        dataset=dataset,
        checkpoint=first,
        checkpoint_name=name,
        folds=folds,
        channels=_channels(dataset, configuration),
        labels=read_labels(dataset),
        code=tuple(sorted({*(name for each in checkpoints.values() for name in each.code), *_classes(configuration)})),
    )


def resolved(plans: Mapping[str, Any], name: str, below: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give a configuration of the plans with all that it inherits. Raises ``FolderRefused``."""
    known = plans.get("configurations")
    known = known if isinstance(known, dict) else {}
    if not isinstance(known.get(name), dict) or name in below:
        there = ", ".join(map(str, known)) or "none"
        raise FolderRefused(
            f"plans.json has no configuration {shown(name)}, which the checkpoint names; it has {there}."
        )
    own: dict[str, Any] = known[name]
    if "inherits_from" not in own:
        return own
    return {**resolved(plans, own["inherits_from"], (*below, name)), **own}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        where = "it lies beside the fold_* of nnU-Net's results"
        raise FolderRefused(f"{file.name} is missing; {where}: copy the whole folder.") from None
    except (OSError, ValueError) as error:
        raise FolderRefused(f"{file.name} is no JSON: {error}.") from error
    if not isinstance(read, dict):
        raise FolderRefused(f"{file.name} is {shown(read)}; nnU-Net writes an object.")
    return read


def _folds(place: Path) -> tuple[str, tuple[str, ...]]:
    """Choose the checkpoint's name, and tell which folds have it."""
    found = sorted(path for path in place.glob("fold_*") if FOLD.fullmatch(path.name))
    for name in CHECKPOINTS:
        folds = [path.name.removeprefix("fold_") for path in found if (path / name).is_file()]
        if folds:
            return name, tuple(sorted(folds, key=lambda fold: (fold == "all", fold.zfill(9))))
    if not found:
        raise FolderRefused("There is no fold_0, fold_1, ... or fold_all; copy the whole folder of nnU-Net's results.")
    rule = f"none of {' and '.join(CHECKPOINTS)}"
    raise FolderRefused(f"{found[0].name} holds {rule}; a training that has ended leaves them.")


def _check(plans: Mapping[str, Any], configuration: Mapping[str, Any], name: str) -> None:
    reader = plans.get("image_reader_writer")
    if reader not in READERS:
        rule = f"volumes are read as by {', '.join(READERS)}"
        raise FolderRefused(f"plans.json: image_reader_writer is {shown(reader)}; {rule}.")
    first_stage = configuration.get("previous_stage")
    if first_stage is not None:
        raise FolderRefused(
            f"{name} is the second stage of a cascade: it needs the result of {shown(first_stage)} for each volume, "
            "which a folder alone cannot give. Serve 3d_fullres, or the first stage, instead."
        )
    manager = plans.get("label_manager", "LabelManager")
    if manager != "LabelManager":
        raise FolderRefused(f"plans.json: label_manager is {shown(manager)}, which nnunetv2 does not have.")
    for key in ("transpose_forward", "transpose_backward"):
        if not isinstance(plans.get(key), list) or sorted(plans[key]) != [0, 1, 2]:
            raise FolderRefused(f"plans.json: {key} is {shown(plans.get(key))}; it orders the three axes 0, 1, 2.")
    for key in ("patch_size", "spacing"):
        value = configuration.get(key)
        if not isinstance(value, list) or not _are_above_0(value):
            raise FolderRefused(f"plans.json: {key} of {name} is {shown(value)}; it has two or three numbers above 0.")
    if len(configuration["patch_size"]) != len(configuration["spacing"]):
        raise FolderRefused(f"plans.json: patch_size and spacing of {name} have not equally many numbers.")


def _are_above_0(value: list[Any]) -> bool:
    return len(value) in {SPATIAL - 1, SPATIAL} and all(
        isinstance(number, (int, float)) and not isinstance(number, bool) and number > 0 for number in value
    )


def _channels(dataset: Mapping[str, Any], configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the channels by their numbers: the order in the file means nothing."""
    key = "modality" if "modality" in dataset else "channel_names"
    named = dataset.get(key)
    numbers = [str(number) for number in range(len(named))] if isinstance(named, dict) else []
    if not isinstance(named, dict) or not numbers or set(named) != set(numbers):
        rule = 'it names the channels "0", "1", ...'
        raise FolderRefused(f"dataset.json: {key} is {shown(named)}; {rule}")
    schemes = configuration.get("normalization_schemes")
    if not isinstance(schemes, list) or len(schemes) != len(numbers):
        raise FolderRefused(
            f"dataset.json names {len(numbers)} channels, and plans.json normalizes "
            f"{len(schemes) if isinstance(schemes, list) else shown(schemes)}; the two are of different trainings."
        )
    return tuple(str(named[number]) for number in numbers)


def _classes(configuration: Mapping[str, Any]) -> list[str]:
    """Name the classes that the plans make, other than those of nnU-Net's own package of networks and of torch."""
    architecture = configuration.get("architecture")
    if not isinstance(architecture, dict):
        return []  # plans of before 2024, in which no class could be named
    arguments = architecture.get("arch_kwargs")
    arguments = arguments if isinstance(arguments, dict) else {}
    imported = architecture.get("_kw_requires_import")
    named = [arguments.get(key) for key in imported] if isinstance(imported, list) else []
    classes = [str(each) for each in (architecture.get("network_class_name"), *named) if each is not None]
    return [each for each in classes if not OWN_CLASSES.fullmatch(each)]
