"""The labels of a network of nnU-Net: which numbers its result has, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tomaat.refusals import shown
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.volumes.labels import LONGEST_LABEL

MOST_LABELS = 32_767  #: nnU-Net's regions are painted as int16
REST = ", rest"  #: of a region that others are painted over


@dataclass(frozen=True, kw_only=True)
class NnunetLabels:
    """The numbers in a result, and the network's outputs."""

    names: dict[int, str]  #: of each number but 0
    outputs: int  #: of the network, "segmentation heads": with background, or one for each region
    painted: tuple[int, ...]  #: of each region its number, in the order of painting; none: classes exclude each other


def read_labels(dataset: Mapping[str, Any]) -> NnunetLabels:
    """Read the labels of a ``dataset.json``. Raises ``FolderRefused`` for labels that a result cannot have."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or labels.get("background") != 0:
        rule = 'write {"background": 0, "liver": 1, ...}'
        raise FolderRefused(f"dataset.json: labels is {shown(labels)}, without a background 0; {rule}.")
    meant = {name: value for name, value in labels.items() if name not in {"background", "ignore"}}
    if any(isinstance(value, list) and len(value) > 1 for value in meant.values()):
        found = _regions(meant, dataset.get("regions_class_order"))
    else:
        found = _classes(meant)
    for name in found.names.values():
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_LABEL:
            rule = f"a label's name has 1 to {LONGEST_LABEL} characters"
            raise FolderRefused(f"dataset.json: a label is called {shown(name)}; {rule}.")
    return found


def _classes(meant: Mapping[str, Any]) -> NnunetLabels:
    names: dict[int, str] = {}
    for name, value in meant.items():
        number = _number(name, value[0] if isinstance(value, list) and len(value) == 1 else value)
        if number in names:
            raise FolderRefused(f"dataset.json: {shown(names[number])} and {shown(name)} are both the label {number}.")
        names[number] = name
    if sorted(names) != list(range(1, len(names) + 1)):
        missing = next(number for number in range(1, len(names) + 1) if number not in names) if names else 1
        raise FolderRefused(f"dataset.json: labels lacks the number {missing}; nnU-Net counts them 1, 2, 3, ...")
    return NnunetLabels(names=names, outputs=len(names) + 1, painted=())


def _regions(meant: Mapping[str, Any], order: Any) -> NnunetLabels:
    """Name each number after its region; where a later region may be painted over it, it is the rest of it."""
    if not isinstance(order, list) or len(order) != len(meant):
        rule = f"one number for each of the {len(meant)} regions"
        raise FolderRefused(f"dataset.json: regions_class_order is {shown(order)}; it has {rule}.")
    painted = [_number("regions_class_order", number) for number in order]
    if len(set(painted)) < len(painted):
        raise FolderRefused(
            f"dataset.json: regions_class_order is {shown(order)}; each region needs a number of its own."
        )
    parts = [
        {_number(name, each) for each in (value if isinstance(value, list) else [value])}
        for name, value in meant.items()
    ]
    names = {}
    for place, (name, number) in enumerate(zip(meant, painted, strict=True)):
        covered = any(parts[place] & later for later in parts[place + 1 :])
        names[number] = name + REST if covered else name
    return NnunetLabels(names=names, outputs=len(meant), painted=tuple(painted))


def _number(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_LABELS:
        raise FolderRefused(f"dataset.json: {name} has the label {shown(value)}; labels are 1 to {MOST_LABELS}.")
    return value
