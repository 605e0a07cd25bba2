"""Checks that the headers of all formats have in common. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from tomaat.headers.remark import bytes_behind
from tomaat.headers.volume_header import BYTES_OF, Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

Grid = tuple[Sequence[float], Sequence[Sequence[float]]]
LONGEST_TEXT_HEADER = 1024**2  #: bytes; a segmentation of 117 segments in 3D Slicer's words has 70,000
LONGEST_VALUE = 16 * 1024  #: characters of a field in a text header that says something of the voxels
VOLUME_DIMENSIONS = 3
OWN_AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))  #: of a volume that says nothing of its own: along LPS
MOST_DIMENSIONS = 7  #: NIfTI's; readers of other formats crash beyond 15
LARGEST_SPACING_MM = 1000.0
SMALLEST_SPACING_MM = 1e-4
FARTHEST_MM = 1e6  #: beyond it a double cannot tell finely resolved neighbours apart for long
DEFLATED = {"gzip", "zlib"}
GZIP_MAGIC = b"\x1f\x8b"
OTHERS = (
    (0, GZIP_MAGIC, "it is gzip; send it unpacked (gunzip)"),
    (0, b"pk\3\4", "it is a zip archive; send the volume in it by itself, or DICOM images as .zip"),
    (0, b"<!doctype", "it is a web page; download the volume again, signed in"),
    (0, b"<html", "it is a web page; download the volume again, signed in"),
    (0, b"version https://git-lfs", "it is a pointer of git-lfs; fetch the file itself (git lfs pull)"),
    (0, b"/annex/objects/", "it is a pointer of git-annex; fetch the file itself (git annex get)"),
    (0, b"nrrd000", "it is NRRD; name it .nrrd"),
    (0, b"objecttype", "it is MetaImage; name it .mha"),
    (0, b"\0\0\0\1", "it may be FreeSurfer's MGH; write it as NIfTI (mri_convert head.mgz head.nii.gz)"),
    (128, b"dicm", "it is DICOM; send its series as .zip"),
    (344, b"n+1\0", "it is NIfTI; name it .nii"),
)  #: how other files begin: the place, the bytes in lower case, what to say
LARGEST_SIDE = 65_535  #: of one DICOM image, in pixels: its standard has no larger number
MOST_PIXELS = 64 * 1024**2  #: of one DICOM image; a mammogram has 14 million
MOST_OF_IMAGES = 1000  #: bytes of voxels that may come of one byte of a series' files; lossy ones come of 1:20
MOST_BEHIND = 64 * 1024**2  #: bytes that the header does not claim, inflated where they are compressed with the voxels
MOST_INFLATED = 1032  #: bytes that come out of one: deflate's longest match, 258 bytes, takes two bits
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"-?\d{1,12}", re.ASCII)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file, never through a link. Raises ``VolumeRefused``, or ``OSError`` where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise VolumeRefused("not-a-file", "The volume is a symbolic link; send the file itself.") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VolumeRefused("not-a-file", "The volume is no regular file.")
    return open(descriptor, "rb")  # noqa: PTH123 (a descriptor)


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Open a folder, never through a link, and give its descriptor. Raises ``OSError`` where there is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def check_dimensions(sizes: Sequence[int]) -> tuple[int, int, int]:
    """Demand one three-dimensional volume; more dimensions may follow if they are 1, and one slice is a volume."""
    if len(sizes) > MOST_DIMENSIONS:
        raise VolumeRefused("not-3d", f"There are {len(sizes)} dimensions; send a volume.")
    if any(size < 1 for size in sizes):
        raise VolumeRefused("dimensions", f"The dimensions {shown(tuple(sizes))} must all be 1 or more.")
    if len(sizes) > VOLUME_DIMENSIONS and any(size > 1 for size in sizes[VOLUME_DIMENSIONS:]):
        raise VolumeRefused(
            "not-3d",
            f"The dimensions {shown(tuple(sizes))} are more than three; send one volume of one channel (FSL: fslsplit; "
            "nibabel: image.slicer[..., 0]).",
        )
    padded = (*sizes[:VOLUME_DIMENSIONS], 1, 1)
    if len(sizes) < VOLUME_DIMENSIONS - 1:
        raise VolumeRefused("not-3d", f"The dimensions {shown(tuple(sizes))} are less than two; send a volume.")
    return padded[0], padded[1], padded[2]


def check_spacing(
    spacing: Sequence[float], names: Sequence[str] = ("spacing along i", "spacing along j", "spacing along k")
) -> Point:
    """Demand a finite, positive spacing of a plausible size; ``names`` is what a refusal calls each."""
    for value, name in zip(spacing, names, strict=False):
        if not math.isfinite(value) or not SMALLEST_SPACING_MM <= value <= LARGEST_SPACING_MM:
            rule = f"{name}: {shown(value)} is outside {SMALLEST_SPACING_MM:g} to {LARGEST_SPACING_MM:g} mm"
            raise VolumeRefused("spacing", f"{rule}; write the distance of neighbouring voxels there.")
    padded = (*spacing, 1.0, 1.0)
    return padded[0], padded[1], padded[2]


def check_origin(origin: Sequence[float]) -> Point:
    """Demand a place near enough for its voxels to be told apart; a coordinate that is left out is 0."""
    for value in origin:
        if not abs(value) <= FARTHEST_MM:
            raise VolumeRefused("place", f"origin: {shown(value)} is more than {FARTHEST_MM:g} mm away.")
    return three(origin)


def looks_like(data: bytes) -> str | None:
    """Say what a file is that is not of its format, and what to do; ``None`` where that does not show."""
    if not data:
        return "it is empty; copy it again from its source"
    return next((words for place, magic, words in OTHERS if data[place:].lower().startswith(magic)), None)


def check_pixels(columns: int, rows: int) -> None:
    """Demand that one DICOM image is not larger than a decoder may be asked for."""
    if max(columns, rows) > LARGEST_SIDE or columns * rows > MOST_PIXELS:
        rule = f"at most {LARGEST_SIDE} x {LARGEST_SIDE} and {MOST_PIXELS} pixels are taken"
        raise VolumeRefused("too-large", f"it claims {columns} x {rows} pixels; {rule}.")


def check_most(header: VolumeHeader, largest_voxel_bytes: float) -> None:
    """Demand that the voxels fit the limit, on disk and in memory."""
    claimed = max(header.voxel_bytes, header.value_bytes)
    if claimed > largest_voxel_bytes:
        rule = f"The header claims {claimed} bytes of voxels; at most {largest_voxel_bytes} are taken."
        raise VolumeRefused("too-large", rule)


def check_size(header: VolumeHeader, file_bytes: int, largest_voxel_bytes: float) -> VolumeHeader:
    """Demand that the voxels fit the limit, on disk and in memory, and the file, or the files of a series."""
    check_most(header, largest_voxel_bytes)
    if header.compression in DEFLATED and header.voxel_bytes > MOST_INFLATED * file_bytes:
        rule = f"The header claims {header.voxel_bytes} bytes of voxels; {file_bytes} bytes cannot inflate to as many."
        raise VolumeRefused("size", rule)
    if header.compression == "images" and header.voxel_bytes > MOST_OF_IMAGES * file_bytes:
        rule = f"The images claim {header.voxel_bytes} bytes of voxels, more than {MOST_OF_IMAGES} times their files"
        raise VolumeRefused("ratio", f"{rule} ({file_bytes} bytes), which no series needs.")
    there = max(0, file_bytes - header.voxel_offset)  # the voxels may be said to begin beyond the file's end
    if header.compression == "none" and there < header.voxel_bytes:
        rule = f"The header claims {header.voxel_bytes} bytes of voxels; {there} are there"
        raise VolumeRefused("size", f"{rule}. The file is cut, or its header is wrong; copy it again from its source.")
    if header.compression == "none" and there > header.voxel_bytes:
        check_behind(header, there - header.voxel_bytes)
        return replace(header, remarks=(*header.remarks, bytes_behind(there - header.voxel_bytes, header.slice_bytes)))
    return header


def check_behind(header: VolumeHeader, count: int) -> None:
    """Demand that bytes which the header does not claim are no volumes: a dimension would be short, and nobody told."""
    claims = f"The header claims {header.voxel_bytes} bytes of voxels"
    if count > MOST_BEHIND:
        rule = f"{count} more are there, and at most {MOST_BEHIND} are passed over"
        raise VolumeRefused("size", f"{claims}; {rule}. It may be wrong; write the volume again.")
    if count and count % header.voxel_bytes == 0:
        sizes = " x ".join(map(str, header.dimensions))
        rule = f"{sizes} of {header.dtype}; there are {count // header.voxel_bytes + 1} times as many"
        raise VolumeRefused("size", f"{claims}, {rule}. Correct its dimensions, or send one volume by itself.")


def at_the_end(header: VolumeHeader, file_bytes: int) -> VolumeHeader:
    """Place voxels that are not compressed at the end of the file. Raises ``VolumeRefused`` where they do not fit."""
    place = file_bytes - header.voxel_bytes
    if place < header.voxel_offset:
        rule = f"The header claims {header.voxel_bytes} bytes of voxels"
        raise VolumeRefused("size", f"{rule}; {file_bytes - header.voxel_offset} are there.")
    check_behind(header, place - header.voxel_offset)
    return replace(header, voxel_offset=place)


def check_type(name: str | None, said: object) -> str:
    """Demand a scalar voxel type."""
    if name is None or name not in BYTES_OF:
        known = ", ".join(BYTES_OF)
        raise VolumeRefused("voxel-type", f"The voxel type {shown(said)} is not taken; save it as one of {known}.")
    return name


def finite_numbers(text: str, field: str) -> list[float]:
    """Read a field of numbers separated by blanks."""
    parts = text.split()
    if not all(map(NUMBER.fullmatch, parts)):
        raise VolumeRefused("header", f"{field}: {shown(text)} is no list of numbers.")
    numbers = [float(part) for part in parts]
    if not all(map(math.isfinite, numbers)):
        raise VolumeRefused("header", f"{field}: {shown(text)} holds a number that is not finite.")
    return numbers


def whole_numbers(text: str, field: str) -> list[int]:
    """Read a field of whole numbers separated by blanks."""
    parts = text.split()
    if not parts or not all(map(WHOLE_NUMBER.fullmatch, parts)):
        raise VolumeRefused("header", f"{field}: {shown(text)} is no list of whole numbers.")
    return [int(part) for part in parts]


def three(numbers: Sequence[float]) -> Point:
    """Give three coordinates, of a list that may have fewer, or more."""
    filled = (*numbers, 0.0, 0.0, 0.0)
    return filled[0], filled[1], filled[2]


def three_axes(axes: Sequence[Sequence[float]]) -> list[Point]:
    """Give three axes of an image that may have fewer, or more."""
    return [three(axis) for axis in (*axes, *OWN_AXES[len(axes) :])][:3]


def farthest_apart_mm(one: Grid, other: Grid, dimensions: Sequence[int]) -> float:
    """Tell how far a corner of a volume lies from itself, where two sources say where the volume lies.

    A grid is its origin and three steps from voxel to voxel, along i, j, k, in mm.
    """
    corners = itertools.product(*((0, count - 1) for count in dimensions))
    return max(math.dist(_place(one, corner), _place(other, corner)) for corner in corners)


def _place(grid: Grid, index: Sequence[int]) -> list[float]:
    origin, steps = grid
    return [origin[x] + sum(n * step[x] for n, step in zip(index, steps, strict=True)) for x in range(3)]
