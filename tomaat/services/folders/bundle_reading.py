"""Give a MONAI bundle's loaders volumes in memory, in the way in which its own readers would give their files."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import nibabel
import numpy as np
from monai.data import NibabelReader
from monai.data.image_reader import ImageReader
from monai.transforms import ConcatItemsd
from monai.transforms.io.array import SUPPORTED_READERS
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from tomaat.services.folders.bundle_config import follow
from tomaat.services.folders.bundle_outputs import affine_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.volumes import Volume

#: Readers of volumes; by default all give a file the same axes and the same place.
READER = re.compile(
    r"\$?(monai\.data\.(image_reader\.)?)?(Nibabel|ITK|Pydicom|NvImgCodecPydicom|Nrrd)Reader", re.IGNORECASE
)
#: Options of readers that change neither voxels nor place nor axes of a volume of three axes.
HARMLESS = {"to_gpu", "squeeze_non_spatial_dims", "series_meta", "prune_metadata", "mmap", "keep_file_open"}
#: Other options, by their values that change nothing.
USUAL = {"affine_lps_to_ras": True, "swap_ij": True, "reverse_indexing": False, "series_name": "", "index_order": "F"}
CANONICAL = "as_closest_canonical"
REMEDY = "A service reads the volumes itself, so take it away and say the orientation by Orientationd."
INPUT = "image"  #: the key that MONAI's evaluator gives to the network


class HeldVolumes(ImageReader):  # type: ignore[misc]
    """Gives volumes in memory to ``LoadImage`` in the way in which its ``NibabelReader`` gives files."""

    def __init__(self, channel_axis: int | None, *, as_closest_canonical: bool) -> None:
        self.channel_axis = channel_axis  #: where the preprocessing wants it; ``None``: it takes what it gets
        self.as_closest_canonical = as_closest_canonical
        self.volumes: dict[str, Volume] = {}

    @contextlib.contextmanager
    def holding(self, volumes: Sequence[Volume]) -> Iterator[list[str]]:
        """Hold volumes for a while; give the names by which they are read."""
        self.volumes = {f"channel-{number}": volume for number, volume in enumerate(volumes)}
        try:
            yield list(self.volumes)
        finally:
            self.volumes = {}

    def verify_suffix(self, filename: Any) -> bool:
        """Tell whether these are names of held volumes."""
        return all(str(name) in self.volumes for name in ensure_tuple(filename))

    def read(self, data: Any, **_: Any) -> list[Volume]:
        """Give volumes by their names."""
        return [self.volumes[str(name)] for name in ensure_tuple(data)]

    def get_data(self, img: Sequence[Volume]) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        """Give the voxels, of shape (i, j, k) or with an axis of channels, and where they lie: in RAS."""
        original, axis = affine_of(img[0]), self.channel_axis
        affine, arrays = original, [volume.array for volume in img]
        if self.as_closest_canonical:
            turn = nibabel.io_orientation(original)  # type: ignore[no-untyped-call]
            affine = original @ nibabel.orientations.inv_ornt_aff(turn, arrays[0].shape)  # type: ignore[no-untyped-call]
            arrays = [nibabel.apply_orientation(array, turn) for array in arrays]  # type: ignore[no-untyped-call]
        arrays = [np.ascontiguousarray(array) for array in arrays]
        if len(arrays) > 1 and axis is None:
            axis = 0
        meta = {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: original.copy(),
            MetaKeys.SPATIAL_SHAPE: np.asarray(arrays[0].shape),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.ORIGINAL_CHANNEL_DIM: math.nan if axis is None else axis,
        }
        return (arrays[0] if axis is None else np.stack(arrays, axis=axis)), meta


def without_reader(loader: dict[str, Any], config: Mapping[str, Any]) -> None:
    """Take the reader out of a ``LoadImaged`` of the configuration, in place: it may not be installed.

    Raises ``FolderRefused`` for one that may give other voxels than the service's.
    """
    told = follow(config, loader.pop("reader", None))
    readers = [follow(config, each) for each in (told if isinstance(told, list) else [told])]
    for each in readers:
        if each is not None and not (isinstance(each, str) and READER.fullmatch(each)):
            name = each.get("_target_") if isinstance(each, dict) else each
            raise FolderRefused(f"LoadImaged: its reader {name!r} is no plain name of a reader of MONAI. {REMEDY}")
        if each is not None and CANONICAL in loader and "nibabel" not in each.lower():
            raise FolderRefused(f"LoadImaged: {CANONICAL} is an option of NibabelReader, not of {each}. {REMEDY}")


def is_canonical(loaders: Iterable[Any]) -> bool:
    """Tell whether the loaders turn each volume to the axes that are closest to RAS.

    Raises ``FolderRefused`` for other options that change voxels, place or axes.
    """
    found = {_is_canonical(each._loader) for each in loaders}  # noqa: SLF001 (MONAI offers no other way)
    if len(found) > 1:
        raise FolderRefused(f"LoadImaged: one has {CANONICAL} and another one has not. {REMEDY}")
    return found == {True}


def _is_canonical(loader: Any) -> bool:
    """Read the options of one loader from its ``NibabelReader``, which keeps those that it does not know, too."""
    own = [type(each).__name__ for each in loader.readers if type(each) not in SUPPORTED_READERS.values()]
    if own or not loader.auto_select:
        raise FolderRefused(f"LoadImaged: it is made with {' '.join(own) or 'a reader'} by an expression. {REMEDY}")
    reader = next(each for each in reversed(loader.readers) if isinstance(each, NibabelReader))
    options = dict(reader.kwargs)
    if reader.channel_dim is not None and not math.isnan(reader.channel_dim):
        options["channel_dim"] = reader.channel_dim
    for option, value in options.items():
        if option not in HARMLESS and not (option in USUAL and value == USUAL[option]):
            raise FolderRefused(f"LoadImaged: its reader's option {option} = {value!r} cannot be followed. {REMEDY}")
    return bool(reader.as_closest_canonical)


def in_order(keys: Sequence[str], channels: Sequence[str], transforms: Iterable[Any]) -> list[str]:
    """Order the loaded keys as the network's channels are: by ``ConcatItemsd``, else by the channels' ids.

    Raises ``FolderRefused`` where neither tells the order, or both do and differ.
    """
    if len(keys) == 1:
        return list(keys)
    by_id = {key.lower(): key for key in keys}
    named = [by_id[id] for id in channels] if by_id.keys() == set(channels) else None
    joined = _joined(keys, transforms)
    ids, remedy = ", ".join(channels), "let channel_def name the channels in the order of the keys of ConcatItemsd."
    if joined is None and named is None:
        raise FolderRefused(
            f"LoadImaged has the keys {', '.join(keys)}, which neither are the channels {ids} of channel_def nor are "
            f"put in order by ConcatItemsd. Join them by ConcatItemsd, and {remedy}"
        )
    if joined is not None and named is not None and joined != named:
        raise FolderRefused(
            f"ConcatItemsd joins {', '.join(joined)}, and channel_def says {ids}; one of them is wrong. Where it is "
            f"channel_def, {remedy}"
        )
    return joined or named or []


def _joined(keys: Sequence[str], transforms: Iterable[Any]) -> list[str] | None:
    """Follow which loaded keys ``ConcatItemsd`` joins to the network's input; ``None`` where it does not join all."""
    parts = {key: [key] for key in keys}
    for each in transforms:
        if isinstance(each, ConcatItemsd):
            whole = [part for key in each.keys for part in parts.get(str(key), [""])]
            parts[each.name] = whole if each.dim == 0 else []
    found = parts.get(INPUT, [])
    return found if sorted(found) == sorted(keys) else None
