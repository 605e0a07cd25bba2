"""Inflate a volume's voxels once, verified, into a file in memory that holds the same volume uncompressed."""

from __future__ import annotations

import mmap
import os
import re

from isal import isal_zlib

from tomaat.volumes.VolumeHeader import VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

STEP_BYTES = 1024**2
WINDOW = {"gzip": 31, "zlib": 15}  #: zlib's words for the format whose checksum is verified
NRRD_ENCODING = re.compile(rb"(?im)^[ \t]*encoding[ \t]*:[^\r\n]*")
MHA_COMPRESSION = re.compile(rb"(?m)^[ \t]*CompressedData(Size)?[ \t]*=[^\n]*\n")


def plain_head(source: int, header: VolumeHeader) -> bytes:
    """Make the header of the uncompressed volume; empty where header and voxels are compressed together."""
    if header.whole_file_compressed:
        return b""
    head = os.pread(source, header.voxel_offset, 0)
    if header.format == "nrrd":
        return NRRD_ENCODING.sub(b"encoding: raw", head, count=1)
    return MHA_COMPRESSION.sub(b"", head)


def plain_bytes(head: bytes, header: VolumeHeader) -> int:
    """Tell how many bytes the uncompressed volume has."""
    return len(head) + header.voxel_bytes + (header.voxel_offset if header.whole_file_compressed else 0)


def inflate(source: int, header: VolumeHeader, head: bytes, memory: int) -> None:
    """Write ``head`` and the inflated voxels from ``source`` to ``memory``, which has exactly that size already.

    Raises ``VolumeRefused`` unless exactly the bytes that the header claims come out, from one gzip or zlib stream,
    with the right checksum, and nothing follows it.
    """
    member = isal_zlib.decompressobj(wbits=WINDOW[header.compression])
    size, place = plain_bytes(head, header), len(head)
    position = 0 if header.whole_file_compressed else header.voxel_offset
    pending = data = b""
    with mmap.mmap(memory, size) as target:
        target[:place] = head
        while not member.eof:
            if not pending and not data:  # else the inflater may hold more than it gave
                pending = os.pread(source, STEP_BYTES, position)
                position += len(pending)
                if not pending:
                    raise VolumeRefused("truncated", "The compressed voxels end before their checksum.")
            try:
                data = member.decompress(pending, STEP_BYTES)
            except isal_zlib.IsalError:  # type: ignore[misc]  # isal's stub does not say that it is one
                raise VolumeRefused("broken", "The compressed voxels are broken, or their checksum is wrong.") from None
            pending = member.unconsumed_tail
            if place + len(data) > size:
                raise VolumeRefused("size", f"More than the {size - len(head)} bytes that the header claims come out.")
            target[place : place + len(data)] = data
            place += len(data)
    if place != size:
        raise VolumeRefused(
            "size", f"The header claims {size - len(head)} bytes of voxels; {place - len(head)} come out."
        )
    if member.unused_data or os.pread(source, 1, position):
        raise VolumeRefused("trailing-data", "Something follows the compressed voxels.")
