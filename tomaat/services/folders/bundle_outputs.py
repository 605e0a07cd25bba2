"""Make a service's outputs of a MONAI bundle's prediction: what its values mean, and where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomaat.refusals import WrongValue
from tomaat.services.folders.bundle_metadata import BundleMetadata, id_of
from tomaat.services.task import Outputs
from tomaat.volumes import Labels, Volume

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  #: times an affine in RAS gives it in LPS, and the other way round
SAME_MM = 1e-3  #: by which the entries of two affines of one grid may differ
LARGEST_LABEL = 65_535
#: Transforms after which a value still is the number of a channel.
KEEPING = frozenset(
    f"{name}d"
    for name in (
        *("Activations", "AsDiscrete", "Invert", "EnsureType", "CastToType", "ToTensor", "ToDevice", "SqueezeDim"),
        *("KeepLargestConnectedComponent", "FillHoles", "RemoveSmallObjects", "LabelFilter", "EnsureChannelFirst"),
        *("Identity", "DeleteItems", "SelectItems", "CopyItems", "MeanEnsemble", "DataStats", "SimulateDelay"),
    )
)


@dataclass(frozen=True, kw_only=True)
class BundleMeaning:
    """How the values of a prediction follow from the numbers of the network's channels."""

    is_known: bool  #: each value is the number of a channel, but for those in ``moved``
    moved: Mapping[int, int]  #: channels' numbers to the values that stand for them


@dataclass(frozen=True, kw_only=True)
class BundlePrediction:
    """The result of a bundle's postprocessing."""

    array: np.ndarray[Any, Any]  #: shape (channel, i, j, k)
    affine: np.ndarray[Any, Any]  #: from i, j, k to mm in RAS, shape (4, 4)
    meaning: BundleMeaning


def meaning_of(postprocessing: Iterable[Any]) -> BundleMeaning:
    """Tell from a bundle's transforms after the network what its values mean."""
    moved: dict[int, int] = {}
    for transform in postprocessing:
        name = type(transform).__name__
        if name == "MapLabelValued":
            mapper = transform.mapper
            pairs = {int(old): int(new) for old, new in zip(mapper.orig_labels, mapper.target_labels, strict=True)}
            moved = {**pairs, **{number: pairs.get(value, value) for number, value in moved.items()}}
        elif name not in KEEPING or not type(transform).__module__.startswith("monai."):
            return BundleMeaning(is_known=False, moved={})
    return BundleMeaning(is_known=True, moved=moved)


def outputs_of(found: BundlePrediction, scan: Volume, metadata: BundleMetadata) -> Outputs:
    """Name a prediction's outputs. Raises ``WrongValue`` for a segmentation of fractions."""
    channels = [_placed(array, found.affine, scan) for array in found.array]
    if not metadata.makes_labels:
        names = _ids(metadata.classes, len(channels), "image")
        return dict(zip(names, channels, strict=True))
    channels = [volume.like(_whole(volume.array)) for volume in channels]
    if len(channels) == 1:
        return {"segmentation": _labels(channels[0], found.meaning, metadata)}
    if max(volume.array.max(initial=0) for volume in channels) > 1:
        raise WrongValue("the bundle's result has several channels with values above 1; end it with AsDiscreted")
    if metadata.classes.get(0, "").lower().startswith("background"):
        first = np.stack([volume.array for volume in channels]).argmax(axis=0).astype(np.uint16)
        return {"segmentation": _labels(channels[0].like(first), found.meaning, metadata)}
    outputs: dict[str, Labels] = {}
    for number, (id, volume) in enumerate(
        zip(_ids(metadata.classes, len(channels), "segmentation"), channels, strict=True)
    ):
        outputs[id] = Labels(volume=volume, names={1: metadata.classes.get(number, f"channel {number + 1}")})
    return outputs


def _labels(volume: Volume, meaning: BundleMeaning, metadata: BundleMetadata) -> Labels:
    """Name the values of a segmentation; one of which nothing is known is named by its number."""
    names = dict(metadata.labels)
    if not names and meaning.is_known:
        numbered = metadata.classes
        if list(numbered) == [0]:  # one channel that is cut at a probability
            numbered = {1: numbered[0]}
        names = {meaning.moved.get(number, number): name for number, name in numbered.items()}
    names = {value: name for value, name in names.items() if value > 0}
    for value in np.unique(volume.array).tolist():
        if value > 0:
            names.setdefault(value, f"label {value}")
    return Labels(volume=volume, names=names or {1: "label 1"})


def _ids(classes: Mapping[int, str], count: int, first: str) -> list[str]:
    """Name the outputs, one for each channel."""
    if count == 1:
        return [first]
    ids: dict[str, str] = {}
    for number in range(count):
        ids[id_of(classes.get(number, f"{first} {number + 1}"), ids)] = ""
    return list(ids)


def _whole(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give a segmentation's values as whole numbers. Raises ``WrongValue`` where they are none."""
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if not (low >= 0 and high <= LARGEST_LABEL):
        raise WrongValue(
            f"the bundle's segmentation has values from {{}} to {{}}; labels are 0 to {LARGEST_LABEL}", low, high
        )
    whole = array.astype(np.uint8 if high <= np.iinfo(np.uint8).max else np.uint16)
    if array.dtype.kind == "f" and not np.array_equal(whole, array):
        raise WrongValue("the bundle's segmentation holds fractions; end its postprocessing with AsDiscreted")
    return whole


def _placed(array: np.ndarray[Any, Any], affine: np.ndarray[Any, Any], scan: Volume) -> Volume:
    """Put an array of shape (i, j, k) where its affine says: most often onto the input's very grid."""
    if array.shape == scan.array.shape and np.allclose(affine, affine_of(scan), rtol=0, atol=SAME_MM):
        return scan.like(array)
    lps = LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    rows = (lps[:3, :3] / spacing).tolist()
    return Volume(
        array=array,
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        origin_mm=(float(lps[0, 3]), float(lps[1, 3]), float(lps[2, 3])),
        direction=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])),
    )


def affine_of(volume: Volume) -> np.ndarray[Any, Any]:
    """Give a volume's affine, from i, j, k to mm in RAS as NIfTI has it; shape (4, 4)."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(volume.direction) * np.asarray(volume.spacing_mm)
    affine[:3, 3] = volume.origin_mm
    placed: np.ndarray[Any, Any] = LPS @ affine
    return placed
