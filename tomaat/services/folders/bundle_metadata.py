"""Read ``configs/metadata.json`` of a MONAI bundle: inputs, labels and texts, without MONAI.

The format is MONAI's bundle specification, https://docs.monai.io/en/stable/mb_specification.html.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomaat.services.folders.folder_refused import FolderRefused

FILE = "configs/metadata.json"
AXES = 3  #: i, j, k
LONGEST_NAME = 64  #: characters of a label, as DICOM has them
MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PT": "PT", "PET": "PT"}  #: the bundles' words, and DICOM's
SEGMENTATION = {"segmentation", "labels"}
GENERATIVE = re.compile(r"generati(ve|on)|synthe|diffusion", re.IGNORECASE)
#: Kinds of networks that are no volume-to-volume networks, by words of their output's type and format.
OTHERS = {
    **dict.fromkeys(("object", "objects", "dict", "boxes", "bounding_box"), "a detection network, which finds boxes"),
    **dict.fromkeys(
        ("probabilities", "probability", "classes", "classification", "one_hot"),
        "a classification network, which gives no volume",
    ),
    **dict.fromkeys(("points", "landmarks", "normals"), "a network that finds points"),
}


@dataclass(frozen=True, kw_only=True)
class BundleMetadata:
    """The facts of a bundle that make its service."""

    description: str
    version: str
    texts: Mapping[str, str]  #: ``intended_use``, ``licence``, ``reference``, ``contact``
    channels: Mapping[str, str]  #: of the input, in order: the id of its service's input, and its name for people
    modality: str | None  #: of all channels, DICOM's word
    makes_labels: bool  #: a segmentation, not another image
    outputs: int  #: channels of the output
    classes: Mapping[int, str]  #: of the output's channels, by their numbers, the background's too
    labels: Mapping[int, str]  #: of the result's values, where the operator wrote ``label_def``; else empty


def read_metadata(place: Path) -> BundleMetadata:
    """Read a bundle's metadata. Raises ``FolderRefused`` where they are wrong or of another kind of network."""
    told = _read(place / FILE)
    formats = _table(told, "network_data_format", FILE)
    given = _only(_table(formats, "inputs", "network_data_format"), "inputs")
    found = _only(_table(formats, "outputs", "network_data_format"), "outputs")
    _refuse_other_kinds(given, found, f"{told.get('task', '')} {told.get('name', '')}")
    modality = MODALITIES.get(str(given.get("modality")).upper())
    return BundleMetadata(
        description=_text(told, "description", 2000) or _text(told, "task", 2000) or "A MONAI bundle.",
        version=_text(told, "version", LONGEST_NAME) or "1",
        texts={
            "intended_use": _text(told, "intended_use", 2000),
            "licence": _text(told, "license", 200) or _text(told, "copyright", 200),
            "reference": _text(told, "references", 1000),
            "contact": _text(told, "authors", 200),
        },
        channels=_channels(given),
        modality=modality,
        makes_labels=found.get("format") in SEGMENTATION,
        outputs=count if type(count := found.get("num_channels")) is int and count > 0 else 1,
        classes=_classes(found),
        labels=_numbered(found, "label_def"),
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderRefused(f"{FILE} cannot be read: {error}. Write it as MONAI's bundle specification says.") from None
    if not isinstance(told, dict):
        raise FolderRefused(f"{FILE} is no object of names and values; write it as MONAI's bundle specification says.")
    return told


def _table(told: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    value = told.get(key)
    if not isinstance(value, dict) or not value:
        raise FolderRefused(f"{FILE}: {where} has no {key}; write there which inputs and outputs the network has.")
    return value


def _only(entries: Mapping[str, Any], which: str) -> dict[str, Any]:
    """Give the only input or output."""
    if len(entries) != 1:
        names = ", ".join(entries)
        raise FolderRefused(f"{FILE}: {which} are {names}; a service is made of bundles with one of them only.")
    (name, entry) = next(iter(entries.items()))
    if not isinstance(entry, dict):
        raise FolderRefused(f"{FILE}: {which}: {name} is no object; write its type, format and num_channels.")
    return entry


def _refuse_other_kinds(given: Mapping[str, Any], found: Mapping[str, Any], task: str) -> None:
    """Raise ``FolderRefused`` for networks that do not make a volume of volumes."""
    words = [str(found.get(key)).lower() for key in ("type", "format")]
    kind = next((OTHERS[word] for word in words if word in OTHERS), None)
    shapes = [entry.get("spatial_shape") for entry in (given, found)]
    axes = [len(shape) if isinstance(shape, list) else AXES for shape in shapes]
    if kind is None and str(given.get("type")).lower() != "image":
        kind = f"a generative network, whose input is {given.get('type')!r}"
    if kind is None and found.get("format") not in SEGMENTATION and GENERATIVE.search(task):
        kind = "a generative network"
    if kind is None and words[0] != "image":
        kind = f"a network whose output is {found.get('type')!r}"
    if kind is None and axes[0] != AXES:
        kind = f"a network for images of {axes[0]} dimensions"
    if kind is None and axes[1] != AXES:
        kind = "a classification network, which gives no volume"
    if kind is not None:
        raise FolderRefused(
            f"{FILE}: the bundle is {kind}; a service is made of networks that take 3-D images and give a "
            "segmentation or images. Write a task for it: docs/tasks.md."
        )


def _channels(given: Mapping[str, Any]) -> dict[str, str]:
    """Name the service's inputs, one for each channel."""
    count: Any = given.get("num_channels")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise FolderRefused(f"{FILE}: the input's num_channels is {count!r}; write how many volumes the network takes.")
    names = _numbered(given, "channel_def") or {number: f"channel {number + 1}" for number in range(count)}
    if sorted(names) != list(range(count)):
        raise FolderRefused(
            f"{FILE}: channel_def names the channels {', '.join(map(str, sorted(names)))} of {count}; name each from "
            "0 on. Where a channel holds clicks or other guidance, the bundle is interactive: write a task for it."
        )
    modality = given.get("modality")
    about = f" ({modality})" if isinstance(modality, str) and modality.lower() != "n/a" else ""
    ids: dict[str, str] = {}
    for number in range(count):
        ids[id_of(names[number], ids)] = f"{names[number]}{about}"
    return ids


def _classes(found: Mapping[str, Any]) -> dict[int, str]:
    """Name the output's channels; nothing is known of them where there are more or fewer names than channels.

    One channel may have many names: those of its values.
    """
    names, count = _numbered(found, "channel_def"), found.get("num_channels")
    return names if count == 1 or count == len(names) else {}


def id_of(name: str, taken: Mapping[str, str]) -> str:
    """Make a Python name that is not taken."""
    id = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_") or "image"
    if not id[0].isalpha() or keyword.iskeyword(id) or id == "self":
        id = f"image_{id}"
    number = 1
    while (numbered := id if number == 1 else f"{id}_{number}") in taken:
        number += 1
    return numbered


def _numbered(entry: Mapping[str, Any], key: str) -> dict[int, str]:
    """Read a table from numbers to names; names are made such that labels can have them."""
    told = entry.get(key) or {}
    if not isinstance(told, dict) or not all(str(number).isdigit() for number in told):
        raise FolderRefused(f'{FILE}: {key} is no table of numbers and names, as {{"0": "background", "1": "spleen"}}.')
    names: dict[int, str] = {}
    for number, name in told.items():
        plain = "".join(letter if letter.isprintable() else " " for letter in str(name)).strip()[:LONGEST_NAME]
        other = f"{plain[: LONGEST_NAME - 6]} {number}".strip()
        names[int(number)] = other if not plain or plain in names.values() else plain
    return names


def _text(told: Mapping[str, Any], key: str, longest: int) -> str:
    """Read a text as one line of printable characters; a list is joined."""
    value = told.get(key) or ""
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
