"""Check the header of an NRRD file with its voxels attached. Standard library only.

Source of the field names and types: "Definition of NRRD File Format", teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from tomaat.headers.checks import (
    LONGEST_TEXT_HEADER,
    OWN_AXES,
    VOLUME_DIMENSIONS,
    check_dimensions,
    check_origin,
    check_size,
    check_spacing,
    check_type,
    finite_numbers,
    open_file,
    three,
    three_axes,
    whole_numbers,
)
from tomaat.headers.remark import Remark, no_place
from tomaat.headers.square import made_square
from tomaat.headers.volume_header import BYTES_OF, Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "int8"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "uint8"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "int16"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "uint16"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "int32"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "uint32"),
    **dict.fromkeys(("longlong", "long long", "long long int", "int64", "int64_t"), "int64"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "uint64"),
    "float": "float32",
    "double": "float64",
}
COMPRESSIONS = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
LPS = "left-posterior-superior"
TURNS: dict[str, Point] = {
    **dict.fromkeys((LPS, "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}  #: the spaces of patients, and the signs that turn each into LPS
MAGICS = tuple(f"NRRD000{version}" for version in range(1, 6))
NO_SKIP = ("0", "")
MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???"}
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
GOVERNING = {
    *("datafile", "lineskip", "byteskip", "encoding", "type", "endian", "sizes", "dimension", "kinds"),
    *("spacedirections", "spaceorigin", "spacings", "space", "spacedimension", "units", "spaceunits", "centers"),
}  #: fields that decide which voxels are read, without their blanks


def read_nrrd_header(path: Path, largest_voxel_bytes: float) -> VolumeHeader:
    """Check an NRRD header. Raises ``VolumeRefused``, also for voxels in another file, which readers would follow."""
    with open_file(path) as file:
        data = file.read(LONGEST_TEXT_HEADER)
        file_bytes = file.seek(0, 2)
    fields, offset = _fields(data)
    if "datafile" in fields:
        raise VolumeRefused("detached", "data file: the voxels must lie in the same file.")
    for name in ("lineskip", "byteskip"):
        if fields.get(name, "0") not in NO_SKIP:
            raise VolumeRefused("header", f"{name}: {shown(fields[name])} must be 0.")
    for name in ("units", "spaceunits"):
        if {unit.strip().lower() for unit in fields.get(name, "").split('"')} - MILLIMETRES:
            raise VolumeRefused("spacing", f"{name}: {shown(fields[name])} must be mm; readers take it for that.")
    encoding = _needed(fields, "encoding").lower()
    if encoding not in COMPRESSIONS:
        raise VolumeRefused("encoding", f"encoding: {shown(encoding)} is not taken; raw and gzip are.")
    dtype = check_type(TYPES.get(_needed(fields, "type").lower()), fields["type"])
    if BYTES_OF[dtype] > 1 and fields.get("endian", "").lower() not in {"little", "big"}:
        raise VolumeRefused("header", f"endian: {shown(fields.get('endian', ''))} must be little or big.")
    sizes = whole_numbers(_needed(fields, "sizes"), "sizes")
    if [len(sizes)] != whole_numbers(_needed(fields, "dimension"), "dimension"):
        raise VolumeRefused("dimensions", f"dimension: {shown(fields['dimension'])} does not fit {len(sizes)} sizes.")
    dimensions = check_dimensions(sizes)
    spacing, origin, direction, remarks = _geometry(fields, len(sizes), dimensions)
    header = VolumeHeader(
        format="nrrd",
        dimensions=dimensions,
        dtype=dtype,
        spacing_mm=spacing,
        origin_mm=origin,
        direction=direction,
        compression=COMPRESSIONS[encoding],
        voxel_offset=offset,
        whole_file_compressed=False,
        byte_order=fields.get("endian", "little").lower(),
        remarks=remarks,
    )
    return check_size(header, file_bytes, largest_voxel_bytes)


def _fields(data: bytes) -> tuple[dict[str, str], int]:
    """Split the header's lines into fields, to the empty line that ends it; return them and where the voxels begin.

    Fields are named in lower case and without blanks, since readers know ``data file`` and ``datafile`` for one.
    """
    fields: dict[str, str] = {}
    position = number = 0
    while True:
        end = data.find(b"\n", position)
        if end < 0:
            raise VolumeRefused("header", f"The NRRD header does not end within {LONGEST_TEXT_HEADER} bytes.")
        line = data[position:end].removesuffix(b"\r").decode("latin-1")
        position, number = end + 1, number + 1
        if CONTROL_CHARACTERS.search(line):
            raise VolumeRefused("header", "The NRRD header holds a control character.")
        if number == 1 and line.strip() not in MAGICS:
            raise VolumeRefused("header", f"This is no NRRD file: it begins with {shown(line)}.")
        if not line and number > 1:
            return fields, position
        if number > 1 and not line.startswith("#"):
            _note_field(line, fields)


def _note_field(line: str, fields: dict[str, str]) -> None:
    name, colon, value = line.partition(":")
    name = "".join(name.lower().split())
    if value.startswith("="):  # a key of somebody's own, unless a reader would take it for the field
        if name in GOVERNING:
            raise VolumeRefused("header", f"The NRRD header's key {shown(name)} has the name of a field.")
        return
    if not colon or name in fields:
        raise VolumeRefused("header", f"The NRRD header's line {shown(line)} is no field, or is there twice.")
    fields[name] = value.strip()


def _needed(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise VolumeRefused("header", f"{name}: the NRRD header does not say it.")
    return fields[name]


def _geometry(
    fields: dict[str, str], dimensions: int, sizes: Sequence[int]
) -> tuple[Point, Point, tuple[Point, Point, Point], tuple[Remark, ...]]:
    """Read spacing, origin and axes; without words on them, along the patient's axes (LPS) from the origin on."""
    space = fields.get("space", LPS).lower()
    if space not in TURNS:
        known = ", ".join(name for name in TURNS if "-" in name)
        raise VolumeRefused("direction", f"space: {shown(fields['space'])} is not taken; {known} are.")
    turn = TURNS[space]
    unsaid = () if "space" in fields else (no_place("space"),)
    origin = check_origin(_turned(fields.get("spaceorigin", "(0,0,0)"), turn, "space origin"))
    if "spacedirections" not in fields:
        spacings = finite_numbers(fields.get("spacings", "1 " * dimensions), "spacings")
        if len(spacings) != dimensions:
            raise VolumeRefused("spacing", f"spacings: {len(spacings)} numbers for {dimensions} dimensions.")
        return check_spacing(spacings[:3]), origin, OWN_AXES, unsaid
    if "space" not in fields and "spacedimension" not in fields:
        rule = "space: the header has space directions, but does not say in which space; write left-posterior-superior"
        raise VolumeRefused("direction", f"{rule}, or another that is right.")
    texts = [part for part in fields["spacedirections"].replace("(", " (").split(" (") if part.strip()]
    vectors = [_turned(text, turn, "space directions") for text in texts]
    if len(vectors) != dimensions:
        raise VolumeRefused("header", f"space directions: {len(vectors)} vectors for {dimensions} dimensions.")
    vectors = vectors[:VOLUME_DIMENSIONS]  # one for time may have no length in space
    lengths = [math.hypot(*vector) for vector in vectors]
    spacing = check_spacing(lengths)
    axes = [[x / length for x in vector] for vector, length in zip(vectors, lengths, strict=True)]
    first, direction, turned = made_square("space directions", origin, three_axes(axes), spacing, sizes)
    return spacing, first, direction, unsaid + turned


def _turned(text: str, turn: Point, field: str) -> Point:
    """Read a vector into LPS."""
    x, y, z = three(finite_numbers(text.strip().strip("()").replace(",", " "), field))
    return x * turn[0], y * turn[1], z * turn[2]
