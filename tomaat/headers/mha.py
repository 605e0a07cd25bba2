"""Check the header of a MetaImage with its voxels attached (``.mha``). Standard library only.

Source of the field names: "MetaIO/Documentation", itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tomaat.headers.checks import (
    LONGEST_TEXT_HEADER,
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
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}


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
LINE = re.compile(rb"[ \t]*([A-Za-z][A-Za-z0-9_]*)[ \t]*=([ -~\t]*)\r?")


def read_mha_header(path: Path, largest_voxel_bytes: float) -> VolumeHeader:
    """Check a MetaImage header. Raises ``VolumeRefused``, also for voxels in another file, which readers follow."""
    with open_file(path) as file:
        data = file.read(LONGEST_TEXT_HEADER)
        file_bytes = file.seek(0, 2)
    fields, offset = _fields(data)
    if fields["ElementDataFile"] != "LOCAL":
        raise VolumeRefused("detached", f"ElementDataFile: {shown(fields['ElementDataFile'])} must be LOCAL.")
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
    return check_size(header, file_bytes, largest_voxel_bytes)


def _fields(data: bytes) -> tuple[dict[str, str], int]:
    """Split the header's lines into fields, to the one that ends it; return them and where the voxels begin.

    Readers tell names apart by letter case and take ``:`` for ``=``, so anything but exact names is refused.
    """
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = data.find(b"\n", position)
        if end < 0:
            raise VolumeRefused(
                "header", f"The MetaImage header has no ElementDataFile in {LONGEST_TEXT_HEADER} bytes."
            )
        match = LINE.fullmatch(data[position:end])
        if match is None:
            raise VolumeRefused("header", f"The MetaImage header's line {shown(data[position:end])} is no field.")
        name, value = match[1].decode("ascii"), match[2].decode("ascii").strip()
        if name in fields or KNOWN.get(name.lower(), name) != name:
            rule = f"The MetaImage header's field {shown(name)} is there twice, or in wrong case."
            raise VolumeRefused("header", rule)
        fields[name] = value
        position = end + 1
    return fields, position


def _check_fields(fields: dict[str, str], data_bytes: int) -> bool:
    """Demand the fields by which all readers find the same voxels; tell whether these are compressed.

    A size of the compressed data that is too small would make a reader stop early and leave voxels unset.
    """
    for name, wanted in (("ObjectType", "image"), ("ElementNumberOfChannels", "1"), ("HeaderSize", "0")):
        if fields.get(name, wanted).lower() != wanted:
            raise VolumeRefused("header", f"{name}: {shown(fields[name])} must be {wanted}.")
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
    size = fields.get("CompressedDataSize")
    if compressed and size is not None and whole_numbers(size, "CompressedDataSize") != [data_bytes]:
        raise VolumeRefused("size", f"CompressedDataSize: {shown(size)} must be the {data_bytes} bytes that are there.")
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
