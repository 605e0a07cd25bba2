"""Check the header of a NIfTI file, in one piece: ``.nii`` or ``.nii.gz``. Standard library only."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tomaat.headers.checks import (
    MOST_DIMENSIONS,
    OWN_AXES,
    Grid,
    check_dimensions,
    check_origin,
    check_size,
    check_spacing,
    check_type,
    farthest_apart_mm,
    open_file,
    three,
)
from tomaat.headers.remark import Remark, no_place
from tomaat.headers.square import made_square
from tomaat.headers.volume_header import BYTES_OF, Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

HEADER_BYTES = 348
NIFTI2_HEADER_BYTES = 540
SMALLEST_OFFSET = 352
LARGEST_OFFSET = 1024**2
SPACING_WITHIN = 0.05  #: of the smallest spacing: how far pixdim may put a corner of the volume from the sform's place
PLACE_WITHIN = 0.5  #: likewise for the qform, whose angles near 180 degrees are coarse in single precision
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


def read_nifti_header(path: Path, largest_voxel_bytes: float) -> VolumeHeader:
    """Check a NIfTI-1 header (NIfTI-2 is refused: SimpleITK does not read it). Raises ``VolumeRefused``."""
    compressed = path.name.endswith(".gz")
    with open_file(path) as file:
        data = file.read(64 * 1024)
        file_bytes = file.seek(0, 2)
    if compressed:
        data = _inflated_start(data)
    if len(data) < SMALLEST_OFFSET:
        raise VolumeRefused("header", f"The file is shorter than a NIfTI header of {SMALLEST_OFFSET} bytes.")
    order = _byte_order(data)
    if data[344:348] != b"n+1\0":
        detached = data[344:348] == b"ni1\0"
        rule = "its voxels lie in another file; send one .nii" if detached else "its magic is not 'n+1'"
        raise VolumeRefused("header", f"This is no NIfTI-1 file in one piece: {rule}.")
    header = _fields(data, order, compressed=compressed)
    return check_size(header, file_bytes, largest_voxel_bytes)


def _inflated_start(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(data, HEADER_BYTES + 4)
    except zlib.error:
        raise VolumeRefused("header", "The file is named .gz but is not gzip.") from None


def _byte_order(data: bytes) -> str:
    for order in "<>":
        if struct.unpack_from(f"{order}i", data)[0] == HEADER_BYTES:
            return order
    if NIFTI2_HEADER_BYTES in struct.unpack_from("<i", data) + struct.unpack_from(">i", data):
        raise VolumeRefused("header", "This is NIfTI-2; send NIfTI-1.")
    raise VolumeRefused("header", f"This is no NIfTI file: its first number is not {HEADER_BYTES}.")


def _fields(data: bytes, order: str, *, compressed: bool) -> VolumeHeader:
    dim = struct.unpack_from(f"{order}8h", data, 40)
    intent, datatype, bits = struct.unpack_from(f"{order}3h", data, 68)
    pixdim = struct.unpack_from(f"{order}8f", data, 76)
    offset, slope, intercept = struct.unpack_from(f"{order}3f", data, 108)
    codes = struct.unpack_from(f"{order}2h", data, 252)
    quaternion, rows = struct.unpack_from(f"{order}6f", data, 256), struct.unpack_from(f"{order}12f", data, 280)
    if not 1 <= dim[0] <= MOST_DIMENSIONS:
        raise VolumeRefused("dimensions", f"dim[0]: {dim[0]} is not between 1 and {MOST_DIMENSIONS}.")
    dtype = check_type(TYPES.get(datatype), OTHER_TYPES.get(datatype, datatype))
    if intent in MANY_NUMBERS:
        raise VolumeRefused(
            "voxel-type", f"intent_code: {intent} makes vectors or matrices of voxels; send one channel."
        )
    if bits != 8 * BYTES_OF[dtype]:
        raise VolumeRefused("header", f"bitpix: {bits} does not fit the voxel type {dtype}.")
    if not math.isfinite(offset) or offset != int(offset) or not SMALLEST_OFFSET <= offset <= LARGEST_OFFSET:
        raise VolumeRefused("header", f"vox_offset: {shown(offset)} is not between 352 and {LARGEST_OFFSET}.")
    if not all(map(math.isfinite, (*quaternion, *rows, pixdim[0]))):
        raise VolumeRefused("header", "qform, sform: a number is not finite.")
    slope, intercept = _scale(slope, intercept)
    dimensions = check_dimensions(dim[1 : 1 + dim[0]])
    unit_mm = MM_OF.get(data[123] & SPACE_UNITS, 1.0)
    spacing = check_spacing([size * unit_mm for size in pixdim[1 : 1 + min(dim[0], 3)]])
    forms = {}
    if codes[0] > 0:
        forms["qform"] = _qform(quaternion, spacing, pixdim[0], unit_mm)
    if codes[1] > 0:
        forms["sform"] = _sform(rows, unit_mm)
    origin, direction, remarks = _geometry(forms, spacing, dimensions)
    return VolumeHeader(
        format="nifti",
        dimensions=dimensions,
        dtype=dtype,
        spacing_mm=spacing,
        origin_mm=origin,
        direction=direction,
        compression="gzip" if compressed else "none",
        voxel_offset=int(offset),
        whole_file_compressed=compressed,
        slope=slope,
        intercept=intercept,
        byte_order="little" if order == "<" else "big",
        remarks=remarks,
    )


def _scale(slope: float, intercept: float) -> tuple[float, float]:
    """Give slope and intercept: voxel times slope plus intercept is the value. They are 1 and 0 without scaling."""
    if slope == 0 or math.isnan(slope):  # NaN is how some writers say it
        if abs(intercept) >= SMALLEST_SCALE:
            rule = f"scl_slope: {shown(slope)} scales nothing, but ITK adds scl_inter {shown(intercept)}; set it to 0."
            raise VolumeRefused("header", rule)
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise VolumeRefused("header", "scl_slope, scl_inter: a number is not finite.")
    if abs(slope) < SMALLEST_SCALE:
        raise VolumeRefused("header", f"scl_slope: {shown(slope)} is so near to 0 that readers take it for none.")
    return slope, intercept if abs(intercept) >= SMALLEST_SCALE else 0.0


def _qform(quaternion: Sequence[float], spacing: Point, handedness: float, unit_mm: float) -> Grid:
    """Make origin and steps (RAS, mm) of a rotation and an offset. Source: nifti1.h, "METHOD 2"."""
    b, c, d = quaternion[:3]
    a = math.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    axes = (
        (a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)),
        (2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)),
        (2 * (b * d + a * c), 2 * (c * d - a * b), a * a + d * d - b * b - c * c),
    )
    sizes = (spacing[0], spacing[1], -spacing[2] if handedness < 0 else spacing[2])
    steps = [[x * size for x in axis] for axis, size in zip(axes, sizes, strict=True)]
    return [x * unit_mm for x in quaternion[3:]], steps


def _sform(rows: Sequence[float], unit_mm: float) -> Grid:
    """Make origin and steps (RAS, mm) of an affine's rows."""
    columns = [[x * unit_mm for x in rows[n::4]] for n in range(4)]
    return columns[3], columns[:3]


def _geometry(
    forms: Mapping[str, Grid], spacing: Point, dimensions: Sequence[int]
) -> tuple[Point, tuple[Point, Point, Point], tuple[Remark, ...]]:
    """Give origin and axes (LPS, mm) on which all forms agree; without a form, along LPS from the origin on.

    ITK makes voxels ``pixdim`` apart in any case, and chooses between two forms by rules of its own. So what
    would move a corner of the volume is refused: an sform that is sheared or has other distances than ``pixdim``, and
    a qform and an sform that differ. Where both say the same the sform's numbers count.
    """
    if not forms:
        return (0.0, 0.0, 0.0), OWN_AXES, (no_place("qform_code and sform_code are 0"),)
    for name, (origin, steps) in forms.items():
        lengths = [math.hypot(*step) for step in steps]
        if min(lengths) == 0:
            raise VolumeRefused("direction", f"{name}: an axis is zero.")
        axes = [[x / length for x in step] for step, length in zip(steps, lengths, strict=True)]
        even = [[x * size for x in axis] for axis, size in zip(axes, spacing, strict=True)]
        apart_mm = farthest_apart_mm((origin, steps), (origin, even), dimensions)
        in_lps = [three([-x, -y, z]) for x, y, z in axes]
        first = check_origin((-origin[0], -origin[1], origin[2]))
        found = made_square(name, first, in_lps, spacing, dimensions)
        if apart_mm > SPACING_WITHIN * min(spacing):
            rule = f"{name}: its voxels are {_listed(lengths)} mm apart, by pixdim {_listed(spacing)} mm; correct one."
            raise VolumeRefused("spacing", rule)
    if len(forms) > 1:
        apart_mm = farthest_apart_mm(forms["qform"], forms["sform"], dimensions)
        if apart_mm > PLACE_WITHIN * min(spacing):
            rule = f"qform and sform put the volume at two places, up to {apart_mm:.3g} mm apart; keep one"
            raise VolumeRefused("two-places", f"{rule} (nibabel, the sform: image.set_qform(image.affine)).")
    return found


def _listed(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.6g}" for number in numbers)
