"""Arrange the images of a DICOM series into one volume, or say with numbers why they are none.

Works on headers that were read; nothing here reads a file.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomaat.headers.checks import check_origin, check_spacing
from tomaat.headers.remark import Remark
from tomaat.headers.volume_header import Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

Array = np.ndarray[Any, Any]
MOST_NAMED = 4  #: positions or series that a refusal lists
MOST_TOLD = 20  #: files that a remark lists
COUNTED = "(by name, or as a zip archive has them)"  #: how files are counted: a name may be a patient's
INDEX = "Media Storage Directory Storage"  #: a DICOMDIR, which each export has
AXES_WITHIN = 1e-4  #: of the direction cosines of one image from those of the first
EVEN_WITHIN = 0.02  #: of the slices' spacing: a position may be off by this share
LEAST_EVEN_MM = 0.01  #: positions are often written with two or three decimals
OFF_GRID_WITHIN = 0.1  #: of the slices' spacing: how far a slice may lie from its place on an even grid
BESIDE_WITHIN = 0.5  #: of the smallest pixel spacing: how far a slice may lie beside the stack's line


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The header of one image; lengths in mm, positions in LPS as DICOM has them."""

    number: int  #: of the file among those that were sent
    series: str  #: SeriesInstanceUID
    description: str  #: SeriesDescription
    modality: str
    columns: int
    rows: int
    frames: int
    samples: int  #: per pixel: 3 for colour
    dtype: str  #: numpy's name of the voxels' type after the rescaling that the header asks for
    position_mm: tuple[float, float, float] | None  #: ImagePositionPatient: centre of the first pixel
    axes: tuple[float, ...] | None  #: ImageOrientationPatient: along the columns' index, then along the rows'
    spacing_mm: tuple[float, float] | None  #: between columns, between rows
    thickness_mm: float | None  #: SliceThickness, for a volume of one slice
    fault: tuple[str, str] | None = None  #: code and sentence: why this image is no part of a volume


@dataclass(frozen=True, kw_only=True)
class NoImage:
    """A DICOM file among the images that is none."""

    number: int  #: of the file among those that were sent
    series: str  #: SeriesInstanceUID
    kind: str  #: the name of its SOP class
    known: bool  #: the standard has that class, and it is none of images


@dataclass(frozen=True, kw_only=True)
class Series:
    """One volume: which files in which order, and its grid (i along columns, j along rows, k through the slices)."""

    order: tuple[int, ...]  #: the slices' numbers, k = 0 first
    dimensions: tuple[int, int, int]
    dtype: str
    modality: str
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[Point, Point, Point]  #: rows of a matrix whose columns are the axes i, j, k
    mixed: bool  #: the images' own types differ from ``dtype``
    remarks: tuple[Remark, ...] = ()

    @property
    def header(self) -> VolumeHeader:
        """The header that a file of the same volume would have."""
        return VolumeHeader(
            format="dicom",
            dimensions=self.dimensions,
            dtype=self.dtype,
            spacing_mm=check_spacing(self.spacing_mm),
            origin_mm=self.origin_mm,
            direction=self.direction,
            compression="images",
            voxel_offset=0,
            whole_file_compressed=False,
            modality=self.modality,
            remarks=self.remarks,
        )


def arrange(slices: Sequence[Slice], wanted: str | None = None, beside: Sequence[NoImage] = ()) -> Series:
    """Make one volume of the images of one series, ``wanted`` where there are several; set aside what lies ``beside``.

    Raises ``VolumeRefused`` with the reason and the numbers: several series, colour, several frames, images that
    differ, missing or doubled slices, uneven spacing, a tilted gantry.
    """
    chosen = _one_series(slices, wanted)
    first = chosen[0]
    remarks = _set_aside(beside, first.series)
    for one in chosen:
        _check_alone(one)
        _check_same(first, one)
    if first.axes is None or first.spacing_mm is None or any(one.position_mm is None for one in chosen):
        raise VolumeRefused(
            "no-geometry", "The images do not say where they lie (position, orientation, pixel spacing)."
        )
    check_spacing(first.spacing_mm)
    for one in chosen:
        check_origin(one.position_mm or ())
    along_i, along_j = np.asarray(first.axes[:3]), np.asarray(first.axes[3:])
    if not np.allclose([along_i @ along_i, along_j @ along_j, along_i @ along_j], [1, 1, 0], rtol=0, atol=1e-3):
        raise VolumeRefused("direction", "The images' rows and columns are not at right angles.")
    along_i = along_i / np.linalg.norm(along_i)  # what three decimals left is made exact
    along_k = np.cross(along_i, along_j)
    along_k /= np.linalg.norm(along_k)
    along_j = np.cross(along_k, along_i)
    positions = np.asarray([one.position_mm for one in chosen], np.float64)
    order = np.argsort(positions @ along_k, kind="stable")
    depths = (positions @ along_k)[order]
    spacing_k = _spacing(depths, first.thickness_mm)
    _check_straight(positions[order], along_k, BESIDE_WITHIN * min(first.spacing_mm))
    rows = [(float(x), float(y), float(z)) for x, y, z in np.column_stack([along_i, along_j, along_k])]
    origin = positions[order[0]]
    types = {one.dtype for one in chosen}
    return Series(
        order=tuple(chosen[place].number for place in order),
        dimensions=(first.columns, first.rows, len(chosen)),
        dtype=first.dtype if len(types) == 1 else "float32",
        modality=first.modality,
        spacing_mm=(first.spacing_mm[0], first.spacing_mm[1], spacing_k),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=(rows[0], rows[1], rows[2]),
        mixed=len(types) > 1,
        remarks=remarks,
    )


def _one_series(slices: Sequence[Slice], wanted: str | None) -> list[Slice]:
    by_series: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        by_series[one.series].append(one)
    listed = "; ".join(
        f"{_ascii(uid)} ({_ascii(own[0].modality)} {shown(own[0].description)}, {len(own)} images)"
        for uid, own in list(by_series.items())[:MOST_NAMED]
    )
    more = f" and {len(by_series) - MOST_NAMED} more" if len(by_series) > MOST_NAMED else ""
    if not by_series:
        raise VolumeRefused("no-dicom", "No DICOM image was sent.")
    if wanted is not None:
        if wanted not in by_series:
            raise VolumeRefused("series", f"The series {shown(wanted)} was not sent; there are: {listed}{more}.")
        return by_series[wanted]
    if len(by_series) > 1:
        raise VolumeRefused(
            "several-series",
            f"{len(by_series)} series were sent: {listed}{more}. Send one of them, or choose one in main.json: "
            '{"inputs": {"<id>": {"series": "<its UID>"}}}.',
        )
    return next(iter(by_series.values()))


def _set_aside(beside: Sequence[NoImage], series: str) -> tuple[Remark, ...]:
    """Tell which files are no images; refuse what may be an image of the series that was cut before its pixels."""
    doubtful = [one for one in beside if not one.known and one.series == series]
    if doubtful:
        rule = f"{_named(doubtful, MOST_NAMED)} without pixels in the series of the images: cut, or no image"
        raise VolumeRefused("unreadable", f"{rule}. Send the whole series again, or without it.")
    told = [one for one in beside if one.kind != INDEX]
    return (Remark("set-aside", f"{_named(told, MOST_TOLD)} no image, and set aside."),) if told else ()


def _named(beside: Sequence[NoImage], most: int) -> str:
    numbers = ", ".join(f"{one.number + 1} ({_ascii(one.kind)})" for one in beside[:most])
    more = f" and {len(beside) - most} more" if len(beside) > most else ""
    what, are = ("file", "is") if len(beside) == 1 else ("files", "are")
    return f"DICOM {what} number {numbers}{more} {COUNTED} {are}"


def _ascii(text: str) -> str:
    """Show a text whole, since a client may have to write it, and printable."""
    return ascii(text)[1:-1]


def _check_alone(one: Slice) -> None:
    if one.samples != 1:
        raise VolumeRefused("colour", f"The images have {one.samples} samples per pixel; only gray ones are taken.")
    if one.frames != 1:
        raise VolumeRefused(
            "multi-frame", f"An image has {one.frames} frames; send a series of single images (classic, not enhanced)."
        )
    if one.columns < 1 or one.rows < 1:
        raise VolumeRefused("no-pixels", "An image has no pixels.")
    if one.fault is not None:
        raise VolumeRefused(*one.fault)


def _check_same(first: Slice, one: Slice) -> None:
    if (first.columns, first.rows) != (one.columns, one.rows):
        raise VolumeRefused(
            "different-sizes",
            f"The images differ in size: {first.columns} x {first.rows} and {one.columns} x {one.rows} pixels.",
        )
    if (first.axes is None) != (one.axes is None) or not np.allclose(
        first.axes or (), one.axes or (), rtol=0, atol=AXES_WITHIN
    ):
        raise VolumeRefused("different-directions", "The images lie in different directions; they are no one stack.")
    if (first.spacing_mm is None) != (one.spacing_mm is None) or not np.allclose(
        first.spacing_mm or (), one.spacing_mm or (), rtol=0, atol=1e-5
    ):
        raise VolumeRefused(
            "different-spacing", f"The images differ in pixel spacing: {first.spacing_mm} and {one.spacing_mm} mm."
        )


def _spacing(depths: Array, thickness_mm: float | None) -> float:
    """Tell the one distance between neighbouring slices, from their sorted places along the normal."""
    if len(depths) == 1:
        if thickness_mm is None or not thickness_mm > 0:
            raise VolumeRefused("no-thickness", "One image was sent, and it does not say how thick its slice is.")
        return float(thickness_mm)
    gaps = np.diff(depths)
    usual = float(np.median(gaps))
    within = max(LEAST_EVEN_MM, EVEN_WITHIN * usual)
    doubled = depths[1:][gaps <= within / 2] if usual > within else depths[1:][gaps <= LEAST_EVEN_MM / 2]
    if len(doubled):
        raise VolumeRefused(
            "doubled-slices",
            f"{len(doubled) + 1} or more images lie at the same place, at {_mm(doubled)} along the stack.",
        )
    ratios = gaps / usual
    missing = [(depth, round(ratio) - 1) for depth, ratio in zip(depths[:-1], ratios, strict=True) if round(ratio) > 1]
    if missing and all(abs(ratio - round(ratio)) * usual <= within * round(ratio) for ratio in ratios):
        count = sum(number for _, number in missing)
        where = _mm([depth + usual for depth, _ in missing])
        raise VolumeRefused(
            "missing-slices", f"{count} slice{' is' if count == 1 else 's are'} missing, at {where} along the stack."
        )
    if (np.abs(gaps - usual) > within).any():
        raise VolumeRefused(
            "uneven-spacing",
            f"The slices are not evenly spaced: {gaps.min():.4g} to {gaps.max():.4g} mm apart; resample the volume.",
        )
    spacing = float((depths[-1] - depths[0]) / (len(depths) - 1))
    off = np.abs(depths - depths[0] - spacing * np.arange(len(depths)))
    if off.max() > max(LEAST_EVEN_MM, OFF_GRID_WITHIN * spacing):
        raise VolumeRefused(
            "uneven-spacing",
            f"The slices are not evenly spaced: that at {depths[off.argmax()]:.2f} mm along the stack lies "
            f"{off.max():.2f} mm from its place; resample the volume.",
        )
    return spacing


def _check_straight(positions: Array, along_k: Array, within_mm: float) -> None:
    """Demand that sorted slices lie behind each other along their normal: else the grid would be sheared, or bent."""
    from_first = positions - positions[0]
    depths = from_first @ along_k
    beside = np.linalg.norm(from_first - np.outer(depths, along_k), axis=1)
    if beside.max() <= within_mm:
        return
    if np.allclose(beside, beside[-1] * depths / depths[-1], rtol=0, atol=within_mm):
        degrees = math.degrees(math.atan2(beside[-1], depths[-1]))
        raise VolumeRefused(
            "gantry-tilt", f"The slices are tilted by {degrees:.1f} degrees against the stack; resample the volume."
        )
    raise VolumeRefused("crooked-stack", f"A slice lies {beside.max():.2f} mm beside the stack; it is no volume.")


def _mm(depths: Sequence[float] | Array) -> str:
    shown = ", ".join(f"{depth:.2f}" for depth in list(depths)[:MOST_NAMED])
    return f"{shown}{', …' if len(depths) > MOST_NAMED else ''} mm"
