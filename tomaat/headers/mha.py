"""Check the header of a MetaImage with its voxels attached (``.mha``). Standard library only.

Source of the field names: "MetaIO/Documentation", itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tomaat.headers.checks import (
    LONGEST_TEXT_HEADER,
    LONGEST_VALUE,
    at_the_end,
    check_dimensions,
    check_origin,
    check_size,
    check_spacing,
    check_type,
    finite_numbers,
    open_file,
    three_axes,
    whole_numbers,
)
from tomaat.headers.remark import Remark, no_place
from tomaat.headers.square import made_square
from tomaat.headers.volume_header import Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_LONG": "int32",  # MetaIO's have 4 bytes, whatever a machine's long has
    "MET_ULONG": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}
PLAIN_TYPES = {dtype: name for name, dtype in reversed(TYPES.items())}
KNOWN = {
    name.lower(): name
    for name in (
        "ObjectType",
        "NDims",
        "DimSize",
        "BinaryData",
        "CompressedData",
        "CompressedDataSize",
        "BinaryDataByteOrderMSB",
        "ElementByteOrderMSB",
        "HeaderSize",
        "ElementNumberOfChannels",
        "ElementType",
        "ElementSpacing",
        "ElementSize",
        "ElementDataFile",
        "TransformMatrix",
        "Orientation",
        "Rotation",
        "Offset",
        "Position",
        "Origin",
    )
}
TRUTH = {"true": True, "false": False}
SYNONYMS = (
    ("TransformMatrix", "Orientation", "Rotation"),
    ("Offset", "Position", "Origin"),
    ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"),
)
NOT_SHOWN = {"CompressedData", "CompressedDataSize", "HeaderSize", "ElementDataFile"}  #: by a header without voxels
SEPARATOR = re.compile("[=:]")
PLAIN_TEXT = re.compile(r"[ -~\t]*")
AT_THE_END = "-1"  #: HeaderSize of voxels that end with the file


def read_mha_header(path: Path, largest_voxel_bytes: float) -> VolumeHeader:
    """Check a MetaImage header. Raises ``VolumeRefused``, also for voxels in another file, which readers follow."""
    with open_file(path) as file:
        data = file.read(LONGEST_TEXT_HEADER)
        file_bytes = file.seek(0, 2)
    fields, offset = _fields(data)
    if fields["ElementDataFile"] != "LOCAL":
        rule = f"ElementDataFile: {shown(fields['ElementDataFile'])} must be LOCAL, for voxels in the same file"
        raise VolumeRefused("detached", f"{rule}; save the volume as .mha, not as .mhd and .raw.")
    compressed = _check_fields(fields, file_bytes - offset)
    sizes = whole_numbers(fields.get("DimSize", ""), "DimSize")
    if whole_numbers(fields.get("NDims", ""), "NDims") != [len(sizes)]:
        raise VolumeRefused("dimensions", f"NDims: {shown(fields['NDims'])} does not fit {len(sizes)} sizes.")
    dimensions = check_dimensions(sizes)
    numbers = finite_numbers(
        fields.get("ElementSpacing", fields.get("ElementSize", "1 " * len(sizes))), "ElementSpacing"
    )
    if len(numbers) != len(sizes):
        raise VolumeRefused("spacing", f"ElementSpacing: {len(numbers)} numbers for {len(sizes)} dimensions.")
    spacing = check_spacing(numbers[:3])
    origin, direction, remarks = _geometry(fields, len(sizes), spacing, dimensions)
    header = VolumeHeader(
        format="mha",
        dimensions=dimensions,
        dtype=check_type(TYPES.get(fields.get("ElementType", "")), fields.get("ElementType", "")),
        spacing_mm=spacing,
        origin_mm=origin,
        direction=direction,
        compression="zlib" if compressed else "none",
        voxel_offset=offset,
        whole_file_compressed=False,
        byte_order="big" if any(_is_true(fields, name) for name in SYNONYMS[2]) else "little",
        remarks=remarks,
    )
    if fields.get("HeaderSize", "0") == AT_THE_END:
        header = at_the_end(header, file_bytes)
    return check_size(header, file_bytes, largest_voxel_bytes)


def plain_mha_head(data: bytes) -> bytes:
    """Say again what governs the voxels, as they are uncompressed, in the plainest words: for a second reader."""
    fields, _ = _fields(data)
    fields["ElementType"] = PLAIN_TYPES[TYPES[fields["ElementType"]]]
    lines = [f"{name} = {value}\n" for name, value in fields.items() if name not in NOT_SHOWN]
    return "".join([*lines, "ElementDataFile = LOCAL\n"]).encode()


def _fields(data: bytes) -> tuple[dict[str, str], int]:
    """Read the known fields of the header's lines, to the one that ends it; tell where the voxels begin, too.

    ITK writes along all that it knows of an image: NIfTI's fields, DICOM's elements, in any alphabet. That is passed
    over. Readers tell names apart by letter case and take ``:`` for ``=``: what is nearly a known field is refused.
    """
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = data.find(b"\n", position)
        if end < 0:
            raise VolumeRefused(
                "header", f"The MetaImage header has no ElementDataFile in {LONGEST_TEXT_HEADER} bytes."
            )
        line = data[position:end].decode("latin-1")
        position = end + 1
        separator = SEPARATOR.search(line)
        name = line[: separator.start()].strip() if separator else ""
        if separator is None or name.lower() not in KNOWN:
            continue
        value = line[separator.end() :].strip()
        if separator[0] != "=" or len(value) > LONGEST_VALUE or not PLAIN_TEXT.fullmatch(value):
            raise VolumeRefused("header", f"The MetaImage header's line {shown(line)} is no field.")
        if name in fields or KNOWN[name.lower()] != name:
            rule = f"The MetaImage header's field {shown(name)} is there twice, or in wrong case."
            raise VolumeRefused("header", rule)
        fields[name] = value
    return fields, position


def _check_fields(fields: dict[str, str], data_bytes: int) -> bool:
    """Demand the fields by which all readers find the same voxels; tell whether these are compressed.

    Fewer bytes than there should be of the compressed data would leave voxels unset.
    """
    for name, wanted, remedy in (
        ("ObjectType", "image", "send an image"),
        ("ElementNumberOfChannels", "1", "send one channel"),
    ):
        if fields.get(name, wanted).lower() != wanted:
            raise VolumeRefused("header", f"{name}: {shown(fields[name])} must be {wanted}; {remedy}.")
    if fields.get("BinaryData", "").lower() != "true":
        raise VolumeRefused("header", f"BinaryData: {shown(fields.get('BinaryData', ''))} must be True.")
    for name in ("CompressedData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB"):
        if fields.get(name, "false").lower() not in TRUTH:
            raise VolumeRefused("header", f"{name}: {shown(fields[name])} must be True or False.")
    for names in SYNONYMS:
        given = [name for name in names if name in fields]
        if len({fields[name].lower() for name in given}) > 1:
            raise VolumeRefused("header", f"{' and '.join(given)} say the same thing differently; keep one.")
    compressed = _is_true(fields, "CompressedData")
    if fields.get("HeaderSize", "0") not in ({"0"} if compressed else {"0", AT_THE_END}):
        rule = f"HeaderSize: {shown(fields['HeaderSize'])} must be 0"
        raise VolumeRefused("header", f"{rule}, or {AT_THE_END} for voxels, not compressed, at the file's end.")
    size = fields.get("CompressedDataSize")
    if compressed and size is not None and whole_numbers(size, "CompressedDataSize") > [data_bytes]:
        rule = f"CompressedDataSize: {shown(size)} is more than the {data_bytes} bytes that are there"
        raise VolumeRefused("size", f"{rule}; the file is cut. Copy it again from its source.")
    return compressed


def _is_true(fields: dict[str, str], name: str) -> bool:
    return TRUTH[fields.get(name, "false").lower()]


def _geometry(
    fields: dict[str, str], dimensions: int, spacing: Point, sizes: Sequence[int]
) -> tuple[Point, tuple[Point, Point, Point], tuple[Remark, ...]]:
    """Read where the volume lies; without words on it, along the patient's axes (LPS) from the origin on.

    A matrix names one axis after the other.
    """
    axes = [[float(n == axis) for n in range(dimensions)] for axis in range(dimensions)]
    unsaid: tuple[Remark, ...] = (no_place(SYNONYMS[0][0]),)
    name = next((name for name in SYNONYMS[0] if name in fields), None)
    if name is not None:
        unsaid = ()
        numbers = finite_numbers(fields[name], name)
        if len(numbers) != dimensions**2:
            raise VolumeRefused("direction", f"{name}: {len(numbers)} numbers for {dimensions} dimensions.")
        axes = [numbers[start : start + dimensions] for start in range(0, len(numbers), dimensions)]
    origin = [0.0] * dimensions
    name = next((name for name in SYNONYMS[1] if name in fields), None)
    if name is not None:
        origin = finite_numbers(fields[name], name)
        if len(origin) != dimensions:
            raise VolumeRefused("header", f"{name}: {shown(fields[name])} does not fit {dimensions} dimensions.")
    first, direction, turned = made_square(SYNONYMS[0][0], check_origin(origin), three_axes(axes), spacing, sizes)
    return first, direction, unsaid + turned
