"""An input for an image: a CT or MRI volume, or a mask."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from Inputs.Input import Input
from tomaat.headers.dicom_files import check_series_folder
from tomaat.headers.nifti import FORMS
from tomaat.headers.orientation import axes_for, is_orientation, orientation_of
from tomaat.headers.read_header import read_header
from tomaat.headers.volume_header import VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

WORD = re.compile(r"[A-Z0-9_ ]{1,16}", re.ASCII)  #: DICOM's "code string"
LARGEST_VOXEL_BYTES = 8 * 1024**3  #: that a task may declare
UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


class VolumeInput(Input):
    """A volume, sent as ``file-<id>.nii.gz`` (or ``.nii``, ``.nrrd``, ``.mha``); ``perform`` gets a ``Volume``.

    Of a NIfTI whose qform and sform differ, ``{"form": "qform"}`` in ``main.json`` takes the one.

    A DICOM series is sent as ``file-<id>.zip``, or as a folder ``file-<id>`` of its images; where they are of several
    series, ``{"series": "<UID>"}`` in ``main.json`` chooses one. Where one series has several volumes, as echoes or
    phases, ``{"volume": 2}`` chooses one by its number in the refusal's list; both may stand together.

    A volume has one channel. A task may declare further limits. They are held against the header before anything reads
    voxels: at the upload, and for a DICOM series when its headers are read beside the worker.

    - ``modalities``: DICOM's words, such as ``CT``; other formats do not say theirs, and are taken;
    - ``orientation``: how the task expects i, j and k to lie, such as ``RAS``. A volume that lies otherwise is turned
      and flipped to that on reading, no value changes, and labels come back on the grid that was sent;
    - ``smallest_dimensions``, ``largest_dimensions``: voxels along i, j, k, as ``perform`` gets them;
    - ``spacing_mm``: the smallest and the largest distance of neighbouring voxels, along each axis; the largest one
      also of two slices of a series that is resampled;
    - ``resampled``: what becomes of a DICOM series whose slices are tilted or unevenly spaced. It is put on an even
      grid by linear interpolation, and a remark tells it; with ``False`` it is refused;
    - ``most_voxels``: the most voxels in all; ``largest_voxel_bytes``: the most bytes of them on disk, uncompressed.

    ``perform`` gets ``None`` for a volume that is not required and was not sent. Raises ``TypeError`` for a limit of
    the wrong kind, and ``ValueError`` for an orientation that does not exist and for limits that no volume can keep.

    >>> VolumeInput("scan", "Head CT", modalities=["CT"], orientation="RAS", spacing_mm=(0.3, 3)).describe()["channels"]
    1
    """

    type = "volume"
    store = "file"
    extensions = (".nii.gz", ".nii", ".nrrd", ".mha", ".zip")  #: that a file may have
    forms = FORMS  #: by which a NIfTI may be placed
    only_described = Input.only_described | {"default", "extensions", "channels"}

    def __init__(
        self,
        id: str,
        name: str,
        *,
        modalities: Sequence[str] | None = None,
        orientation: str | None = None,
        smallest_dimensions: Sequence[int] | None = None,
        largest_dimensions: Sequence[int] | None = None,
        spacing_mm: Sequence[float] | None = None,
        resampled: bool = True,
        most_voxels: int | None = None,
        largest_voxel_bytes: int | None = None,
        description: str = "",
        required: bool = True,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        if orientation is not None and not is_orientation(orientation):
            rule = "write one letter of LR, one of PA, one of SI: 'RAS'"
            raise ValueError(f"{self!r}: orientation={shown(orientation)}; {rule}.")
        self.modalities = self._limits("modalities", modalities, _is_word, "a list of DICOM's words, such as ['CT']")
        self.orientation = orientation
        sizes = "three whole numbers of voxels, along i, j, k"
        self.smallest_dimensions = self._limits("smallest_dimensions", smallest_dimensions, _is_count, sizes, 3)
        self.largest_dimensions = self._limits("largest_dimensions", largest_dimensions, _is_count, sizes, 3)
        self.spacing_mm = self._limits("spacing_mm", spacing_mm, _is_length, "two lengths in mm, such as (0.5, 3)", 2)
        if not isinstance(resampled, bool):
            raise TypeError(f"{self!r}: resampled={shown(resampled)}; write True or False.")
        self.resampled = resampled
        self.most_voxels = self._count("most_voxels", most_voxels)
        self.largest_voxel_bytes = self._count("largest_voxel_bytes", largest_voxel_bytes)
        if self.spacing_mm is not None and self.spacing_mm[0] > self.spacing_mm[1]:
            raise ValueError(f"{self!r}: spacing_mm={shown(spacing_mm)}; write the smaller one first.")
        if any(map(operator.gt, self.smallest_dimensions or (), self.largest_dimensions or ())):
            raise ValueError(f"{self!r}: smallest_dimensions are above largest_dimensions along an axis.")

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON; a limit that is not declared is ``null``, ``resampled`` is there if False."""
        described = super().describe() | {
            "extensions": list(self.extensions),
            "channels": 1,
            "modalities": None if self.modalities is None else list(self.modalities),
            "orientation": self.orientation,
            "smallest_dimensions": None if self.smallest_dimensions is None else list(self.smallest_dimensions),
            "largest_dimensions": None if self.largest_dimensions is None else list(self.largest_dimensions),
            "spacing_mm": None if self.spacing_mm is None else list(self.spacing_mm),
            "most_voxels": self.most_voxels,
            "largest_voxel_bytes": self.largest_voxel_bytes,
        }
        return described if self.resampled else {**described, "resampled": False}

    def check(self, value: object) -> Any:
        """Check what ``main.json`` may say of a volume: the DICOM series, and the volume in it, or a NIfTI's form."""
        if isinstance(value, dict) and value.keys() == {"form"}:
            if value["form"] not in FORMS:
                raise self.refuse("not-a-form", f"form: {self.shown(value['form'])} is none of {', '.join(FORMS)}.")
            return value
        if isinstance(value, dict) and value and value.keys() <= {"series", "volume"}:
            uid, number = value.get("series", "0"), value.get("volume", 1)
            if not isinstance(uid, str) or not UID.fullmatch(uid):
                raise self.refuse("not-a-uid", f"series: {self.shown(uid)} is no UID of a DICOM series.")
            if not _is_count(number):
                rule = "is no number of a volume in a DICOM series; they count from 1"
                raise self.refuse("not-a-volume", f"volume: {self.shown(number)} {rule}.")
            return value
        rule = f"{self.shown(value)} in main.json is no volume; send it as the file file-{self.id}{self.extensions[0]}."
        raise self.refuse("wrong-place", rule)

    def check_file(
        self, path: Path, *, largest_voxel_bytes: float = math.inf, form: str | None = None
    ) -> VolumeHeader | None:
        """Check a file's header, and the file's size against it; raises ``InputRefused``.

        ``form`` is the one that the client chose. ``largest_voxel_bytes`` is the limit of this server for any volume. A
        folder of DICOM images has no header: only that its files are DICOM is checked.
        """
        try:
            if path.is_dir():
                check_series_folder(path)
                return None
            header = read_header(path, largest_voxel_bytes=largest_voxel_bytes, form=form)
            self.demand(header)
        except VolumeRefused as refusal:
            raise self.refuse(refusal.code, refusal.detail) from refusal
        return header

    def demand(self, header: VolumeHeader) -> None:
        """Hold a header against the declared limits; raises ``VolumeRefused``."""
        if self.modalities is not None and header.modality is not None and header.modality not in self.modalities:
            rule = f"modality: {shown(header.modality)} is none of {', '.join(self.modalities)}."
            raise VolumeRefused("modality", rule)
        now = orientation_of(header.direction)
        order = axes_for(self.orientation or now, now)
        dimensions = tuple(header.dimensions[axis] for axis in order)
        for code, limit, word, beyond in (
            ("too-few-voxels", self.smallest_dimensions, "at least", operator.lt),
            ("too-many-voxels", self.largest_dimensions, "at most", operator.gt),
        ):
            if limit is not None and any(map(beyond, dimensions, limit)):
                rule = f"The volume has {_by(dimensions)} voxels along i, j, k; {word} {_by(limit)} are taken."
                raise VolumeRefused(code, rule)
        for axis, size_mm in zip("ijk", (header.spacing_mm[axis] for axis in order), strict=True):
            if self.spacing_mm is not None and not self.spacing_mm[0] <= round(size_mm, 6) <= self.spacing_mm[1]:
                low, high = self.spacing_mm
                rule = f"spacing: {size_mm:g} mm along {axis} is outside {low:g} to {high:g} mm."
                raise VolumeRefused("spacing", rule)
        if self.spacing_mm is not None and round(header.largest_gap_mm or 0, 6) > self.spacing_mm[1]:
            rule = f"{header.largest_gap_mm:g} mm between two of its slices; at most {self.spacing_mm[1]:g} mm is taken"
            raise VolumeRefused("spacing", f"spacing: the series has {rule}, before it is put on an even grid.")
        voxels = math.prod(dimensions)
        for what, number, most in (
            ("voxels", voxels, self.most_voxels),
            ("bytes of voxels", header.voxel_bytes, self.largest_voxel_bytes),
        ):
            if most is not None and number > most:
                rule = f"The volume has {number} {what}; at most {most} are taken."
                raise VolumeRefused("too-large", rule)

    def _limits(
        self, what: str, values: Sequence[Any] | None, right: Callable[[Any], bool], wanted: str, count: int = 0
    ) -> tuple[Any, ...] | None:
        """Check a declared list."""
        if values is None:
            return None
        if not isinstance(values, (list, tuple)) or not values or len(values) != (count or len(values)):
            raise TypeError(f"{self!r}: {what}={shown(values)}; write {wanted}.")
        if not all(map(right, values)):
            raise TypeError(f"{self!r}: {what}={shown(values)}; write {wanted}.")
        return tuple(values)

    def _count(self, what: str, limit: int | None) -> int | None:
        """Check a declared largest number."""
        if limit is not None and not _is_whole(limit):
            raise TypeError(f"{self!r}: {what}={shown(limit)}; write a whole number.")
        if limit is not None and not 1 <= limit <= LARGEST_VOXEL_BYTES:
            raise ValueError(f"{self!r}: {what}={shown(limit)} is outside 1 to {LARGEST_VOXEL_BYTES}.")
        return limit


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(WORD.fullmatch(value))


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_length(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
