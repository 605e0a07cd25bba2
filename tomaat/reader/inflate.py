"""Inflate a volume's voxels once, verified, straight to where they are wanted."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator

from isal import isal_zlib

from tomaat.headers.volume_header import VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused

STEP_BYTES = 1024**2
WINDOW = {"gzip": 31, "zlib": 15}  #: zlib's words for the format whose checksum is verified
NRRD_ENCODING = re.compile(rb"(?im)^[ \t]*encoding[ \t]*:[^\r\n]*")
MHA_COMPRESSION = re.compile(rb"(?m)^[ \t]*CompressedData(Size)?[ \t]*=[^\n]*\n")


def plain_head(source: int, header: VolumeHeader) -> bytes:
    """Make the header of the uncompressed volume; as many zeros where header and voxels are compressed together."""
    if header.whole_file_compressed:
        return bytes(header.voxel_offset)
    head = os.pread(source, header.voxel_offset, 0)
    if header.format == "nrrd":
        return NRRD_ENCODING.sub(b"encoding: raw", head, count=1)
    return MHA_COMPRESSION.sub(b"", head)


def inflate(source: int, header: VolumeHeader, head: bytearray, voxels: mmap.mmap) -> None:
    """Inflate ``source`` into ``voxels``, and first into ``head`` where that is compressed with them.

    Raises ``VolumeRefused`` unless exactly the bytes that the header claims come out, from one gzip or zlib stream,
    with the right checksum, and nothing follows it.
    """
    before = len(head) if header.whole_file_compressed else 0
    claimed = before + header.voxel_bytes
    came = 0
    for data in _inflated(source, header):
        if came + len(data) > claimed:
            raise VolumeRefused(
                "size", f"More than the {header.voxel_bytes} bytes of voxels that are claimed come out."
            )
        first = data[: max(0, before - came)]
        head[came : came + len(first)] = first
        start = came + len(first) - before
        voxels[start : start + len(data) - len(first)] = data[len(first) :]
        came += len(data)
    if came != claimed:
        rule = f"The header claims {header.voxel_bytes} bytes of voxels; {max(0, came - before)} come out."
        raise VolumeRefused("size", rule)


def _inflated(source: int, header: VolumeHeader) -> Iterator[bytes]:
    """Yield the inflated bytes, at most ``STEP_BYTES`` at a time; refuse at the end a file that must not be taken."""
    member = isal_zlib.decompressobj(wbits=WINDOW[header.compression])
    position = 0 if header.whole_file_compressed else header.voxel_offset
    pending = data = b""
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
        yield data
    if member.unused_data or os.pread(source, 1, position):
        raise VolumeRefused("trailing-data", "Something follows the compressed voxels.")
