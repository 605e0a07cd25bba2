"""Check the header of a NIfTI file, in one piece: ``.nii`` or ``.nii.gz``. Standard library only.

Sources of the fields: nifti1.h and nifti2.h, nifti.nimh.nih.gov. Of contradictions in one header the better witness
counts, and a remark tells it: the voxel type and not ``bitpix``, the sform and not ``pixdim``.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomaat.headers.checks import (
    GZIP_MAGIC,
    MOST_DIMENSIONS,
    OWN_AXES,
    VOLUME_DIMENSIONS,
    Grid,
    check_dimensions,
    check_origin,
    check_size,
    check_spacing,
    check_type,
    farthest_apart_mm,
    looks_like,
    open_file,
    three,
)
from tomaat.headers.remark import NO_PLACE, Remark, no_place
from tomaat.headers.square import Axes, made_square
from tomaat.headers.volume_header import BYTES_OF, Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

HEAD_BYTES = 352  #: of a NIfTI-1 file before its extensions, or its voxels
LARGEST_OFFSET = 64 * 1024**2  #: extensions hold whatever a converter knew: all DICOM headers have some megabytes
SPACING_WITHIN = 0.05  #: of the smallest spacing: how far pixdim may put a corner of the volume from the sform's place
PLACE_WITHIN = 0.1  #: likewise for qform and sform, before it is told that they differ
LARGEST_QUATERNION = 1.01  #: length of the three numbers of a rotation, rounded
FORMS = ("sform", "qform")  #: in the order in which they are tried
MANY_NUMBERS = range(1004, 1008)  #: intents: matrix, symmetric matrix, displacement, vector
SMALLEST_SCALE = 2.0**-52  #: below it ITK takes a slope for 0, and an intercept beside a slope of 1
SPACE_UNITS = 0b111  #: the bits of xyzt_units that are about space
MM_OF = {1: 1000.0, 3: 0.001}  #: metres and micrometres; all else is taken for mm, as readers do
TYPES = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float32",
    64: "float64",
    256: "int8",
    512: "uint16",
    768: "uint32",
    1024: "int64",
    1280: "uint64",
}
OTHER_TYPES = {1: "binary", 32: "complex64", 128: "RGB", 1536: "float128", 1792: "complex128", 2304: "RGBA"}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where one version of NIfTI has its fields: for each the byte, and the words of ``struct`` for its numbers."""

    version: int
    header_bytes: int
    magic: tuple[int, bytes]
    dim: tuple[int, str]
    intent: tuple[int, str]
    datatype_and_bits: tuple[int, str]
    pixdim: tuple[int, str]
    offset: tuple[int, str]
    scale: tuple[int, str]
    units: tuple[int, str]
    codes: tuple[int, str]
    quaternion: tuple[int, str]
    rows: tuple[int, str]


LAYOUTS = (
    _Layout(
        version=1,
        header_bytes=348,
        magic=(344, b"n+1\0"),
        dim=(40, "8h"),
        intent=(68, "h"),
        datatype_and_bits=(70, "2h"),
        pixdim=(76, "8f"),
        offset=(108, "f"),
        scale=(112, "2f"),
        units=(123, "B"),
        codes=(252, "2h"),
        quaternion=(256, "6f"),
        rows=(280, "12f"),
    ),
    _Layout(
        version=2,
        header_bytes=540,
        magic=(4, b"n+2\0\r\n\x1a\n"),
        dim=(16, "8q"),
        intent=(504, "i"),
        datatype_and_bits=(12, "2h"),
        pixdim=(104, "8d"),
        offset=(168, "q"),
        scale=(176, "2d"),
        units=(500, "i"),
        codes=(344, "2i"),
        quaternion=(352, "6d"),
        rows=(400, "12d"),
    ),
)
LONGEST_HEAD = max(layout.header_bytes for layout in LAYOUTS) + 4  #: and four bytes on extensions


def read_nifti_header(path: Path, largest_voxel_bytes: float, form: str | None = None) -> VolumeHeader:
    """Check the header of NIfTI-1 or NIfTI-2; it is gzip where it begins so, whatever its name says.

    ``form`` is ``qform`` or ``sform`` where the client says which of the two places the volume. Raises
    ``VolumeRefused``.
    """
    with open_file(path) as file:
        data = file.read(64 * 1024)
        file_bytes = content_bytes = file.seek(0, 2)
        compressed = data.startswith(GZIP_MAGIC)
        if compressed:
            file.seek(max(0, file_bytes - 4))
            content_bytes = int.from_bytes(file.read(4), "little")  # of the last member, modulo 2^32: RFC 1952
            data = _inflated_start(data)
    layout, order = _layout(data)
    header = _Header(data, layout, order).checked(content_bytes, compressed=compressed, form=form)
    return check_size(header, file_bytes, largest_voxel_bytes)


def _inflated_start(data: bytes) -> bytes:
    """Inflate the first members, to the end of the header."""
    start = b""
    while data.startswith(GZIP_MAGIC) and len(start) < LONGEST_HEAD:
        member = zlib.decompressobj(wbits=31)
        try:
            start += member.decompress(data, LONGEST_HEAD - len(start))
        except zlib.error:
            raise VolumeRefused("header", "The file begins as gzip, but is broken; copy it again.") from None
        data = member.unused_data
    if start.startswith(GZIP_MAGIC):
        raise VolumeRefused("header", "The file is gzip within gzip; unpack it once (gunzip).")
    return start


def _layout(data: bytes) -> tuple[_Layout, str]:
    """Tell the version and the byte order."""
    for layout in LAYOUTS:
        for order in "<>":
            if data[:4] == struct.pack(f"{order}i", layout.header_bytes):
                place, magic = layout.magic
                found = data[place : place + len(magic)]
                if found == magic and len(data) >= layout.header_bytes:
                    return layout, order
                if found == magic.replace(b"+", b"i"):
                    rule = "its voxels lie in another file; write both as one .nii.gz (nibabel.load and nibabel.save)"
                else:
                    rule = f"its magic is not {shown(magic[:3])}" if len(data) >= layout.header_bytes else "it is cut"
                raise VolumeRefused("header", f"This is no NIfTI file in one piece: {rule}.")
    rule = f"its first number is neither {LAYOUTS[0].header_bytes} nor {LAYOUTS[1].header_bytes}"
    raise VolumeRefused("header", f"This is no NIfTI file: {looks_like(data) or rule}.")


class _Header:
    """The fields of one header, and what there is to tell of them."""

    def __init__(self, data: bytes, layout: _Layout, order: str) -> None:
        self.layout = layout
        self.order = order
        self.remarks: tuple[Remark, ...] = ()

        def numbers(place: tuple[int, str]) -> Sequence[Any]:
            return struct.unpack_from(order + place[1], data, place[0])

        self.dim = numbers(layout.dim)
        self.intent = numbers(layout.intent)[0]
        self.datatype, self.bits = numbers(layout.datatype_and_bits)
        self.pixdim = numbers(layout.pixdim)
        self.offset = numbers(layout.offset)[0]
        self.scale = numbers(layout.scale)
        self.unit_mm = MM_OF.get(numbers(layout.units)[0] & SPACE_UNITS, 1.0)
        self.codes = dict(zip(("qform", "sform"), numbers(layout.codes), strict=True))
        self.quaternion = numbers(layout.quaternion)
        self.rows = numbers(layout.rows)

    def checked(self, content_bytes: int, *, compressed: bool, form: str | None) -> VolumeHeader:
        """Check the fields; ``content_bytes`` are the file's, inflated, where that is known."""
        dimensions = self._dimensions()
        dtype = check_type(TYPES.get(self.datatype), OTHER_TYPES.get(self.datatype, self.datatype))
        if self.intent in MANY_NUMBERS:
            raise VolumeRefused(
                "voxel-type", f"intent_code: {self.intent} makes vectors or matrices of voxels; send one channel."
            )
        if self.bits != 8 * BYTES_OF[dtype]:
            self._mend(f"bitpix: {self.bits} contradicts the voxel type {dtype}, which was taken.")
        offset = self._voxel_offset(content_bytes, math.prod(dimensions) * BYTES_OF[dtype])
        slope, intercept = _scale(*self.scale)
        spacing, origin, direction = self._geometry(dimensions, form)
        unused = [*self.quaternion, *self.rows, *self.pixdim[:4]]
        plain = self.layout.version == 1 and all(map(math.isfinite, unused))
        return VolumeHeader(
            format="nifti",
            dimensions=dimensions,
            dtype=dtype,
            spacing_mm=spacing,
            origin_mm=origin,
            direction=direction,
            compression="gzip" if compressed else "none",
            voxel_offset=offset,
            whole_file_compressed=compressed,
            slope=slope,
            intercept=intercept,
            byte_order="little" if self.order == "<" else "big",
            own_rules=not plain or any(remark.code != NO_PLACE for remark in self.remarks),
            remarks=self.remarks,
        )

    def _mend(self, detail: str, code: str = "mended") -> None:
        self.remarks += (Remark(code, detail),)

    def _dimensions(self) -> tuple[int, int, int]:
        if not 1 <= self.dim[0] <= MOST_DIMENSIONS:
            raise VolumeRefused("dimensions", f"dim[0]: {self.dim[0]} is not between 1 and {MOST_DIMENSIONS}.")
        sizes = self.dim[1 : 1 + self.dim[0]]
        filled = [*sizes[:VOLUME_DIMENSIONS], *(size or 1 for size in sizes[VOLUME_DIMENSIONS:])]
        dimensions = check_dimensions(filled)
        if filled != list(sizes):
            self._mend(f"dim: the 0 of {shown(tuple(sizes))} was taken for 1.")
        return dimensions

    def _voxel_offset(self, content_bytes: int, voxel_bytes: int) -> int:
        """Tell where the voxels begin; where the header says that they lie within itself, by the file's length."""
        smallest = self.layout.header_bytes + 4
        if smallest <= self.offset <= LARGEST_OFFSET and self.offset == int(self.offset):
            return int(self.offset)
        said = f"vox_offset: {shown(self.offset)} is not a whole number between {smallest} and {LARGEST_OFFSET}"
        if 0 <= self.offset < smallest:
            for place in (smallest, self.layout.header_bytes):
                if content_bytes == place + voxel_bytes:
                    self._mend(f"{said}. By the file's length the voxels begin at byte {place}.")
                    return place
        raise VolumeRefused("header", f"{said}; write the file again (nibabel.load and nibabel.save).")

    def _geometry(self, dimensions: Sequence[int], wanted: str | None) -> tuple[Point, Point, Axes]:
        """Give spacing, origin and axes (LPS, mm) of the form that counts; without one, along LPS from the origin on.

        The sform counts where its code is the higher or the same one, or where both say the same.
        """
        usable: dict[str, Grid] = {}
        faults: dict[str, VolumeRefused] = {}
        for name, make in zip(FORMS, (self._sform, self._qform), strict=True):
            if self.codes[name] > 0:
                try:
                    usable[name] = make()
                except VolumeRefused as refusal:
                    faults[name] = refusal
        if wanted is not None and wanted not in usable:
            raise faults.get(wanted) or VolumeRefused("form", f"{wanted}: {wanted}_code is 0, so the file has none.")
        if not usable and not faults:
            self.remarks += (no_place("qform_code and sform_code are 0"),)
            return self._pixdim_spacing(), (0.0, 0.0, 0.0), OWN_AXES
        if not usable:
            raise next(iter(faults.values()))
        taken = wanted or next(iter(usable))
        if len(usable) > 1:
            taken = self._chosen(usable, dimensions, wanted)
        for fault in faults.values():
            self._mend(f"{fault.detail} The {taken} was taken.", "form-unusable")
        return self._placed(taken, usable, dimensions)

    def _chosen(self, usable: Mapping[str, Grid], dimensions: Sequence[int], wanted: str | None) -> str:
        """Choose one of two forms, and tell where they differ."""
        apart_mm = farthest_apart_mm(usable["qform"], usable["sform"], dimensions)
        if apart_mm <= PLACE_WITHIN * min(map(_length, usable["sform"][1])):
            return wanted or "sform"
        q, s = self.codes["qform"], self.codes["sform"]
        taken = wanted or ("sform" if s >= q else "qform")
        other = "qform" if taken == "sform" else "sform"
        why = "as was asked" if wanted else f"by the codes (sform_code {s}, qform_code {q})"
        rule = f"qform and sform put the volume at two places, up to {apart_mm:.3g} mm apart. The {taken} was taken"
        self._mend(f'{rule}, {why}; {{"form": "{other}"}} in main.json takes the {other}.', "two-places")
        return taken

    def _placed(self, name: str, usable: Mapping[str, Grid], dimensions: Sequence[int]) -> tuple[Point, Point, Axes]:
        """Turn the grid of a form into LPS, with square axes."""
        (x, y, z), steps = usable[name]
        lengths = three(list(map(_length, steps)))
        axes = [three([-step[0] / mm, -step[1] / mm, step[2] / mm]) for step, mm in zip(steps, lengths, strict=True)]
        try:
            first, direction, told = made_square(name, (-x, -y, z), axes, lengths, dimensions)
        except VolumeRefused as refusal:
            others = [other for other in usable if other != name]
            if not others:
                raise
            rule = f'or take the {others[0]}, by {{"form": "{others[0]}"}} in main.json.'
            raise VolumeRefused(refusal.code, f"{refusal.detail.removesuffix('.')}, {rule}") from None
        self.remarks += told
        if name == "sform":
            self._compare_pixdim(axes, lengths, dimensions)
        return lengths, first, direction

    def _compare_pixdim(self, axes: Sequence[Point], lengths: Point, dimensions: Sequence[int]) -> None:
        """Tell where pixdim has other distances than the sform."""
        said = [self.unit_mm * size for size in self.pixdim[1 : 1 + min(self.dim[0], 3)]]
        said += lengths[len(said) :]
        by_pixdim, by_sform = (
            [[x * mm for x in axis] for axis, mm in zip(axes, by, strict=True)] for by in (said, lengths)
        )
        nowhere = (0.0, 0.0, 0.0)
        if not farthest_apart_mm((nowhere, by_pixdim), (nowhere, by_sform), dimensions) <= SPACING_WITHIN * min(
            lengths
        ):
            rule = f"pixdim says that voxels are {_listed(said)} mm apart, the sform {_listed(lengths)} mm"
            self._mend(f"{rule}; the sform's was taken.")

    def _pixdim_spacing(self) -> Point:
        names = [f"pixdim[{n}]" for n in (1, 2, 3)]
        return check_spacing([size * self.unit_mm for size in self.pixdim[1 : 1 + min(self.dim[0], 3)]], names)

    def _qform(self) -> Grid:
        """Make origin and steps (RAS, mm) of a rotation and an offset. Source: nifti1.h, "METHOD 2"."""
        if not all(map(math.isfinite, (*self.quaternion, self.pixdim[0]))):
            raise VolumeRefused("header", "qform: a number is not finite.")
        spacing = self._pixdim_spacing()
        b, c, d = self.quaternion[:3]
        if math.hypot(b, c, d) > LARGEST_QUATERNION:
            raise VolumeRefused("direction", f"qform: {_listed((b, c, d))} is no rotation; its length is above 1.")
        a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
        length = math.sqrt(a * a + b * b + c * c + d * d)
        a, b, c, d = a / length, b / length, c / length, d / length
        axes = (
            (a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)),
            (2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)),
            (2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c),
        )
        sizes = (spacing[0], spacing[1], -spacing[2] if self.pixdim[0] < 0 else spacing[2])
        steps = [[x * size for x in axis] for axis, size in zip(axes, sizes, strict=True)]
        return check_origin([x * self.unit_mm for x in self.quaternion[3:]]), steps

    def _sform(self) -> Grid:
        """Make origin and steps (RAS, mm) of an affine's rows."""
        if not all(map(math.isfinite, self.rows)):
            raise VolumeRefused("header", "sform: a number is not finite.")
        *steps, origin = [[x * self.unit_mm for x in self.rows[n::4]] for n in range(4)]
        if min(map(_length, steps)) == 0:
            raise VolumeRefused("direction", "sform: an axis is zero.")
        check_spacing(list(map(_length, steps)), [f"sform, voxels along {axis}" for axis in "ijk"])
        return check_origin(origin), steps


def _scale(slope: float, intercept: float) -> tuple[float, float]:
    """Give slope and intercept: voxel times slope plus intercept is the value. They are 1 and 0 without scaling."""
    if slope == 0 or math.isnan(slope):  # NaN is how some writers say it
        if abs(intercept) >= SMALLEST_SCALE:
            rule = f"scl_slope: {shown(slope)} scales nothing, but ITK adds scl_inter {shown(intercept)}; set it to 0."
            raise VolumeRefused("header", rule)
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        rule = f"scl_slope, scl_inter: {slope:g}, {intercept:g} are not both finite; write 1 and 0 for unscaled values."
        raise VolumeRefused("header", rule)
    if abs(slope) < SMALLEST_SCALE:
        raise VolumeRefused("header", f"scl_slope: {shown(slope)} is so near to 0 that readers take it for none.")
    return slope, intercept if abs(intercept) >= SMALLEST_SCALE else 0.0


def _length(step: Sequence[float]) -> float:
    return math.hypot(*step)


def _listed(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.6g}" for number in numbers)
