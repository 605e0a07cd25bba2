"""Arrange the images of a DICOM series into one volume, or say with numbers why they are none.

Works on headers that were read; nothing here reads a file.

::

    images ── series ──▶ copies, others ──▶ volumes ──▶ grid ──▶ one volume
               │ several-series  │ set-aside,   │ several-volumes  │ missing-slices, gantry-tilt, …
               │                 │ copies       │ doubled-slices
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tomaat.headers.dicom_files import MOST_IMAGES
from tomaat.headers.remark import Remark
from tomaat.headers.volume_header import Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.several import Stack, stacks_of, without_copies, without_others
from tomaat.reader.slice import COUNTED, NoImage, Slice
from tomaat.reader.stack import grid_of
from tomaat.refusals import shown

MOST_NAMED = 4  #: positions or series that a refusal lists
MOST_VOLUMES = 12  #: that a refusal lists
MOST_TOLD = 20  #: files that a remark lists
INDEX = "Media Storage Directory Storage"  #: a DICOMDIR, which each export has


@dataclass(frozen=True, kw_only=True)
class Series:
    """One volume: which images in which order, and its grid (i along columns, j along rows, k through the slices)."""

    order: tuple[int, ...]  #: the numbers of the slices' files, k = 0 first
    frames: tuple[int, ...]  #: likewise, which frame of its file each slice is
    columns: int  #: of each image
    rows: int
    dimensions: tuple[int, int, int]  #: of the volume
    dtype: str
    modality: str
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[Point, Point, Point]  #: rows of a matrix whose columns are the axes i, j, k
    mixed: bool  #: the images' own types differ from ``dtype``
    places: tuple[Point, ...] = ()  #: in voxels of the volume, of each image's first pixel, where it is resampled
    slices: tuple[Slice, ...] = ()  #: k = 0 first
    remarks: tuple[Remark, ...] = ()

    @property
    def header(self) -> VolumeHeader:
        """The header that a file of the same volume would have."""
        depths = [place[2] * self.spacing_mm[2] for place in self.places]
        return VolumeHeader(
            format="dicom",
            dimensions=self.dimensions,
            dtype=self.dtype,
            spacing_mm=self.spacing_mm,
            origin_mm=self.origin_mm,
            direction=self.direction,
            compression="images",
            voxel_offset=0,
            whole_file_compressed=False,
            modality=self.modality,
            largest_gap_mm=max((behind - one for one, behind in pairwise(depths)), default=None),
            remarks=self.remarks,
        )


def arrange(
    slices: Sequence[Slice],
    wanted: str | None = None,
    beside: Sequence[NoImage] = (),
    volume: int | None = None,
    *,
    resampled: bool = True,
) -> Series:
    """Make one volume of the images of one series, ``wanted`` where there are several; set aside what lies ``beside``.

    Where the series has several volumes, ``volume`` is the number of one, from 1, in the order in which a refusal lists
    them. A stack that is tilted or unevenly spaced gets an even grid where it may be ``resampled``. Raises
    ``VolumeRefused`` with the reason and the numbers: several series, several volumes, colour, frames that say nothing
    of their place, images that differ, missing or doubled slices, else uneven spacing or a tilted gantry.
    """
    chosen = _one_series(slices, wanted)
    remarks = _set_aside(beside, chosen[0].series)
    chosen, copies = without_copies(chosen)
    chosen, others = without_others(chosen)
    for one in chosen:
        _check_alone(one)
    if all(one.position_mm and one.axes for one in chosen):
        stacks, elsewhere = stacks_of(chosen)
    else:
        stacks, elsewhere = [Stack(label="", slices=tuple(chosen))], []  # its grid says which image has no place
    stack = _one_stack(stacks, volume)
    if len(stack.slices) > MOST_IMAGES:
        rule = f"The volume has {len(stack.slices)} slices; at most {MOST_IMAGES} are taken."
        raise VolumeRefused("too-many-images", rule)
    grid = grid_of(stack.slices, resampled=resampled)
    placed = tuple(stack.slices[place] for place in grid.order)
    first = placed[0]
    if grid.dimensions[2] > MOST_IMAGES:
        rule = f"On an even grid the volume would have {grid.dimensions[2]} slices; at most {MOST_IMAGES} are taken."
        raise VolumeRefused("too-many-images", rule)
    types = {one.dtype for one in placed}
    if len(stacks) > 1:
        remarks += (Remark("volume", f"Of {len(stacks)} volumes in the series, that of {stack.label} was read."),)
    return Series(
        order=tuple(one.number for one in placed),
        frames=tuple(one.frame for one in placed),
        columns=first.columns,
        rows=first.rows,
        dimensions=grid.dimensions,
        dtype=first.dtype if len(types) == 1 else "float32",
        modality=first.modality,
        spacing_mm=grid.spacing_mm,
        origin_mm=grid.origin_mm,
        direction=grid.direction,
        mixed=len(types) > 1,
        places=grid.places,
        slices=placed,
        remarks=remarks + _left_out(copies, [*others, *elsewhere]) + grid.remarks,
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
        alone = all(len(own) == 1 for own in by_series.values()) and len(by_series) > MOST_NAMED
        each = " Each image has a series of its own: give them one SeriesInstanceUID." if alone else ""
        raise VolumeRefused(
            "several-series",
            f"{len(by_series)} series were sent: {listed}{more}.{each} Send one of them, or choose one in main.json: "
            '{"inputs": {"<id>": {"series": "<its UID>"}}}.',
        )
    return next(iter(by_series.values()))


def _one_stack(stacks: Sequence[Stack], volume: int | None) -> Stack:
    if volume is None and len(stacks) == 1:
        return stacks[0]
    if volume is not None and volume <= len(stacks):
        return stacks[volume - 1]
    count = _counted(len(stacks), "volume")
    listed = "; ".join(
        f"{number}: {stack.label or 'its images'} ({_counted(len(stack.slices), 'image')})"
        for number, stack in enumerate(stacks[:MOST_VOLUMES], 1)
    )
    more = f" and {len(stacks) - MOST_VOLUMES} more" if len(stacks) > MOST_VOLUMES else ""
    if volume is not None:
        raise VolumeRefused("volume", f"The series has no volume {volume}; it has {count}: {listed}{more}.")
    how = 'with <id>.volume=1 (a form, the client), {"inputs": {"<id>": {"volume": 1}}} (main.json), or in its field'
    choose = f"Choose one by its number: {how} (the page)."
    raise VolumeRefused("several-volumes", f"The series has {count}: {listed}{more}. {choose}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _set_aside(beside: Sequence[NoImage], series: str) -> tuple[Remark, ...]:
    """Tell which files are no images; refuse what may be an image of the series that was cut before its pixels."""
    doubtful = [one for one in beside if not one.known and one.series == series]
    if doubtful:
        rule = f"{_named(doubtful, MOST_NAMED)} without pixels in the series of the images: cut, or no image"
        raise VolumeRefused("unreadable", f"{rule}. Send the whole series again, or without it.")
    told = [one for one in beside if one.kind != INDEX]
    return (Remark("set-aside", f"{_named(told, MOST_TOLD)} no image, and set aside."),) if told else ()


def _left_out(copies: Sequence[Slice], others: Sequence[tuple[Slice, str]]) -> tuple[Remark, ...]:
    """Tell which images of the series are no slices of the volume."""
    remarks: tuple[Remark, ...] = ()
    if others:
        listed = [f"{one.name} ({what})" for one, what in others]
        remarks += (Remark("set-aside", f"{_listed(listed)}: no slice of the volume, and set aside."),)
    if copies:
        named = _listed([one.within for one in copies])
        remarks += (Remark("copies", f"Sent more than once, and counted once: {named}."),)
    return remarks


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_TOLD]) + (f" and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else "")


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
        rule = f"it has {one.samples} samples per pixel (colour); only gray images are taken"
        raise VolumeRefused("colour", f"{one.name}: {rule}.")
    if one.columns < 1 or one.rows < 1:
        raise VolumeRefused("no-pixels", f"{one.name}: it has no pixels. Send the whole series again.")
    if one.fault is not None:
        code, detail = one.fault
        raise VolumeRefused(code, f"{one.name}: {detail}")
    if one.frames != 1:
        rule = f"it has {one.frames} frames that do not say where they lie; send a series of single images"
        raise VolumeRefused("multi-frame", f"{one.name}: {rule}, or an enhanced CT, MR or PET.")
