"""The files beside an ONNX file in which it keeps tensors: each must lie in its folder.

onnxruntime opens such a file by the name that stands in the network, wherever it leads: with ``/`` before it, through
``..``, or through a link. So the names are read before onnxruntime sees the file, from the few fields of onnx.proto
(of onnx 1.23) that lead to them. No tensor's own bytes are read. The wire format is that of protobuf.dev's
"Encoding"; a form of it that ONNX never has is refused, since onnxruntime might read it in another way.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tomaat.refusals import shown
from tomaat.services.folders.folder_refused import FolderRefused

#: Each message on the way to a tensor, and its fields that hold further ones, by their numbers.
MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {5: "TensorProto", 10: "TensorProto", 6: "GraphProto", 11: "GraphProto"}
    | dict.fromkeys((22, 23), "SparseTensorProto"),
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
}
NAME, EXTERNAL_DATA = 8, 13  #: fields of a TensorProto
KEY, VALUE = 1, 2  #: of an entry of its external data
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  #: forms of a field
LONGEST_TAG, LONGEST_VARINT = 5, 10  #: bytes
LARGEST_TAG = 2**32
REMEDY = "save it with its external data inside the folder"


def demand_data_inside(file: Path) -> None:
    """Raise ``FolderRefused`` unless all external data of an ONNX file lie in its folder, and it is an ONNX file."""
    place = file.parent.resolve()
    named = f"{place.name}/{file.name}"
    try:
        for tensor, location in external_data(file):
            reason = fault_of(location, place)
            if reason is not None:
                raise FolderRefused(
                    f"{named} keeps its tensor {tensor} in {shown(os.fsdecode(location))}, which {reason}; {REMEDY}."
                )
    except ValueError as error:
        raise FolderRefused(f"{named} is no ONNX file: {error}; export it anew.") from error


def fault_of(location: bytes, place: Path) -> str | None:
    """Tell why a place of external data leads elsewhere than into the folder, or to no file; ``None``: it does not."""
    name = os.fsdecode(location)
    if not name.isprintable() or "*" in name:
        return "is no plain name of a file"  # onnxruntime takes */_ORT_MEM_ADDR_/* for an address in its own memory
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return "leads out of the folder"
    there = (place / path).resolve()
    if not there.is_relative_to(place):
        return "leads out of the folder by a link"
    return None if there.is_file() else "is no file of the folder"


def external_data(file: Path) -> Iterator[tuple[str, bytes]]:
    """Give each tensor of an ONNX file that lies in another file. Raises ``ValueError`` for what is no ONNX file."""
    with file.open("rb") as opened:
        if not os.fstat(opened.fileno()).st_size:
            raise ValueError("it is empty")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            waiting = [("ModelProto", 0, len(data))]
            while waiting:
                message, start, end = waiting.pop()
                if message == "TensorProto":
                    yield from _of_tensor(data, start, end)
                    continue
                inner = MESSAGES[message]
                waiting += [(inner[number], *at) for number, at in _fields(data, start, end) if number in inner]


def _of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[str, bytes]]:
    """Give the places of one tensor's data; of a key that stands twice, each value."""
    name, entries = "without a name", []
    for number, at in _fields(data, start, end):
        if number == NAME:
            name = shown(data[slice(*at)].decode(errors="replace"))
        elif number == EXTERNAL_DATA:
            entries.append([(each, data[slice(*part)]) for each, part in _fields(data, *at)])
    for entry in entries:
        if (KEY, b"location") in entry:
            yield from [(name, value) for number, value in entry if number == VALUE]


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Give the number of each field of a message that has a length, and where its content begins and ends."""
    at = start
    while at < end:
        tag, at = _varint(data, at, end, LONGEST_TAG)
        number, form = tag >> 3, tag & 7
        if not number or tag >= LARGEST_TAG:
            raise ValueError(f"there is no field at byte {at}")
        if form == VARINT:
            _, at = _varint(data, at, end, LONGEST_VARINT)
        elif form == LENGTH:
            length, at = _varint(data, at, end, LONGEST_TAG)
            if at + length > end:
                raise ValueError(f"it ends within the field at byte {at}")
            yield number, (at, at + length)
            at += length
        elif form in {FIXED32, FIXED64}:
            at += 4 if form == FIXED32 else 8
        else:
            raise ValueError(f"there is no field at byte {at}")
    if at > end:
        raise ValueError(f"it ends within the field at byte {end}")


def _varint(data: mmap.mmap, at: int, end: int, longest: int) -> tuple[int, int]:
    """Read a number of a few bits a byte; give it and where the next thing begins."""
    number = 0
    for count, byte in enumerate(data[at : min(at + longest, end)]):
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:  # noqa: PLR2004 (the highest bit says that more bytes follow)
            return number, at + count + 1
    raise ValueError(f"there is no number at byte {at}")
