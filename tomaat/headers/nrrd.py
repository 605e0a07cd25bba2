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
    LONGEST_VALUE,
    OWN_AXES,
    VOLUME_DIMENSIONS,
    at_the_end,
    check_dimensions,
    check_origin,
    check_size,
    check_spacing,
    check_type,
    finite_numbers,
    looks_like,
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
PLAIN_TYPES = {dtype: name for name, dtype in TYPES.items()}
COMPRESSIONS = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
LPS = "left-posterior-superior"
TURNS: dict[str, Point] = {
    **dict.fromkeys((LPS, "lps"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1.0, -1.0, 1.0)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1.0, -1.0, 1.0)),
}  #: the spaces of patients, and the signs that turn each into LPS
MAGICS = tuple(f"NRRD000{version}" for version in range(1, 6))
AT_THE_END = "-1"  #: byte skip of voxels that end with the file
NO_DIRECTION = "none"
VECTOR = re.compile(r"\([^()]*\)|[^\s()]+")
REMEDY = "write it again as one file with gzip (unu save -f nrrd -e gzip -i … -o …, or 3D Slicer)"
MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", "", "???"}
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
OF_SPACE = {"domain", "space", "???", "none"}  #: kinds of axes, and the words for none
PER_AXIS = ("axis mins", "axis maxs", "centers", "centerings")
PLAIN_NAMES = {
    name.replace(" ", ""): name
    for name in (
        *("type", "dimension", "space", "space dimension", "sizes", "space directions", "spacings"),
        *("endian", "space origin", *PER_AXIS),
    )
}  #: what governs the voxels, or their place for some reader, beside the encoding
KNOWN = PLAIN_NAMES.keys() | {"encoding", "datafile", "lineskip", "byteskip", "units", "spaceunits", "kinds"}


def read_nrrd_header(path: Path, largest_voxel_bytes: float) -> VolumeHeader:
    """Check an NRRD header. Raises ``VolumeRefused``, also for voxels in another file, which readers would follow."""
    with open_file(path) as file:
        data = file.read(LONGEST_TEXT_HEADER)
        file_bytes = file.seek(0, 2)
    fields, offset = _fields(data)
    if "datafile" in fields:
        raise VolumeRefused("detached", f"data file: the voxels must lie in the same file; {REMEDY}.")
    for name in ("units", "spaceunits"):
        if {unit.strip().lower() for unit in fields.get(name, "").split('"')} - MILLIMETRES:
            raise VolumeRefused("spacing", f"{name}: {shown(fields[name])} must be mm; readers take it for that.")
    encoding = _needed(fields, "encoding").lower()
    if encoding not in COMPRESSIONS:
        raise VolumeRefused("encoding", f"encoding: {shown(encoding)} is not taken; raw and gzip are: {REMEDY}.")
    for name in ("lineskip", "byteskip"):
        taken = {"0", "", AT_THE_END} if name == "byteskip" and COMPRESSIONS[encoding] == "none" else {"0", ""}
        if fields.get(name, "0") not in taken:
            raise VolumeRefused("header", f"{name}: {shown(fields[name])} must be 0; {REMEDY}.")
    dtype = check_type(TYPES.get(_needed(fields, "type").lower()), fields["type"])
    if BYTES_OF[dtype] > 1 and fields.get("endian", "").lower() not in {"little", "big"}:
        raise VolumeRefused("header", f"endian: {shown(fields.get('endian', ''))} must be little or big.")
    sizes = whole_numbers(_needed(fields, "sizes"), "sizes")
    if [len(sizes)] != whole_numbers(_needed(fields, "dimension"), "dimension"):
        raise VolumeRefused("dimensions", f"dimension: {shown(fields['dimension'])} does not fit {len(sizes)} sizes.")
    dimensions = check_dimensions(sizes)
    _check_kinds(fields, sizes)
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
    if fields.get("byteskip") == AT_THE_END:
        header = at_the_end(header, file_bytes)
    return check_size(header, file_bytes, largest_voxel_bytes)


def plain_nrrd_head(data: bytes) -> bytes:
    """Say again what governs the voxels, as they are uncompressed, in the plainest words: for a second reader."""
    fields, _ = _fields(data)
    fields["type"] = PLAIN_TYPES[TYPES[fields["type"].lower()]]
    lines = [f"{name}: {' '.join(fields[key].split())}\n" for key, name in PLAIN_NAMES.items() if key in fields]
    return "".join(["NRRD0004\n", *lines, "encoding: raw\n\n"]).encode()


def _fields(data: bytes) -> tuple[dict[str, str], int]:
    """Split the header's lines into fields, to the empty line that ends it; return them and where the voxels begin.

    Fields are named in lower case and without blanks, since readers know ``data file`` and ``datafile`` for one.
    """
    fields: dict[str, str] = {}
    position = data.find(b"\n") + 1
    magic = data[: max(0, position - 1)].strip().decode("latin-1")
    if magic not in MAGICS:
        rule = looks_like(data) or f"it begins with {shown(magic)}"
        raise VolumeRefused("header", f"This is no NRRD file: {rule}.")
    while True:
        end = data.find(b"\n", position)
        if end < 0:
            raise VolumeRefused("header", f"The NRRD header does not end within {LONGEST_TEXT_HEADER} bytes.")
        line = data[position:end].removesuffix(b"\r").decode("latin-1")
        position = end + 1
        if not line:
            return _without_lists(fields), position
        if not line.startswith("#"):
            _note_field(line, fields)


def _note_field(line: str, fields: dict[str, str]) -> None:
    name, colon, value = line.partition(":")
    name = "".join(name.lower().split())
    if colon and (value.startswith("=") or name not in KNOWN):
        return  # a key of somebody's own, or a field that says nothing of the voxels
    if not colon or name in fields:
        raise VolumeRefused("header", f"The NRRD header's line {shown(line)} is no field, or is there twice.")
    if CONTROL_CHARACTERS.search(value) or len(value) > LONGEST_VALUE:
        rule = f"is longer than {LONGEST_VALUE} characters, or holds a control character"
        raise VolumeRefused("header", f"The NRRD header's field {shown(name)} {rule}.")
    fields[name] = value.strip()


def _without_lists(fields: dict[str, str]) -> dict[str, str]:
    """Leave out axes that are none of space and have a size of 1, such as a list of one segmentation."""
    directions = VECTOR.findall(fields.get("spacedirections", ""))
    sizes = fields.get("sizes", "").split()
    lists = [n for n, text in enumerate(directions) if text.lower() == NO_DIRECTION]
    if not lists or len(directions) != len(sizes) or fields.get("dimension") != str(len(sizes)):
        return fields
    if any(sizes[n] != "1" for n in lists):
        rule = f"sizes: {shown(fields['sizes'])} has several values for each voxel; send one channel"
        raise VolumeRefused("not-3d", f"{rule} (overlapping segments of 3D Slicer: collapse the labelmap's layers).")
    kept = [n for n in range(len(sizes)) if n not in lists]
    for name in PER_AXIS:
        fields.pop(name.replace(" ", ""), None)
    kinds = fields.get("kinds", "").split()
    if len(kinds) == len(sizes):
        fields["kinds"] = " ".join(kinds[n] for n in kept)
    return fields | {
        "dimension": str(len(kept)),
        "sizes": " ".join(sizes[n] for n in kept),
        "spacedirections": " ".join(directions[n] for n in kept),
    }


def _check_kinds(fields: dict[str, str], sizes: Sequence[int]) -> None:
    """Demand that no axis holds several values of one voxel, such as the colours of a picture."""
    kinds = fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != len(sizes):
        raise VolumeRefused("header", f"kinds: {shown(fields['kinds'])} does not fit {len(sizes)} sizes.")
    for kind, size in zip(kinds, sizes, strict=False):
        if size > 1 and kind not in OF_SPACE:
            rule = f"kinds: an axis of {size} values is of the kind {shown(kind)}, none of space"
            raise VolumeRefused("not-3d", f"{rule}; send one channel, or write domain where it is wrong.")


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
    texts = VECTOR.findall(fields["spacedirections"])
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
