"""Inflate a volume's voxels once, verified, straight to where they are wanted."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

from isal import isal_zlib

from tomaat.headers.checks import GZIP_MAGIC, LONGEST_TEXT_HEADER, MOST_BEHIND, check_behind
from tomaat.headers.mha import plain_mha_head
from tomaat.headers.nifti import HEAD_BYTES
from tomaat.headers.nrrd import plain_nrrd_head
from tomaat.headers.volume_header import VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused

REMEDY = "Copy the file again from its source."
STEP_BYTES = 1024**2
READ_BYTES = 64 * 1024  #: at once; of many small members each costs a copy of what follows it
WINDOW = {"gzip": 31, "zlib": 15}  #: zlib's words for the format whose checksum is verified


def plain_head(source: int, header: VolumeHeader) -> bytes:
    """Make the header of the uncompressed volume; as many zeros where header and voxels are compressed together."""
    if header.whole_file_compressed:
        return bytes(HEAD_BYTES)
    if header.format == "nifti":
        return os.pread(source, HEAD_BYTES, 0)
    make = plain_mha_head if header.format == "mha" else plain_nrrd_head
    return make(os.pread(source, LONGEST_TEXT_HEADER, 0))


def inflate(source: int, header: VolumeHeader, head: bytearray, voxels: mmap.mmap) -> int:
    """Inflate ``source`` into ``voxels``, and first into ``head`` where that is compressed with them.

    Returns how many bytes follow the voxels. Raises ``VolumeRefused`` unless all bytes that the header claims come out,
    from one zlib stream or from gzip members, with the right checksums.
    """
    before = header.voxel_offset if header.whole_file_compressed else 0
    claimed = before + header.voxel_bytes
    most = claimed + (MOST_BEHIND if header.whole_file_compressed else 0)
    came = 0
    behind = _Behind()
    for data in _inflated(source, header, behind):
        if header.whole_file_compressed:
            _lay(data, came, head, 0)
        _lay(data, came, voxels, before)
        came += len(data)
        if came > most:
            rule = f"The header claims {header.voxel_bytes} bytes of voxels; more than {most - before} come out"
            raise VolumeRefused("size", f"{rule}. It may be wrong; write the volume again.")
    if came < claimed:
        rule = f"The header claims {header.voxel_bytes} bytes of voxels; {max(0, came - before)} come out."
        raise VolumeRefused("size", rule)
    check_behind(header, came - claimed)
    return came - claimed + behind.packed_bytes


class _Behind:
    """What follows the last member of a file."""

    packed_bytes = 0


def _lay(data: bytes, at: int, target: bytearray | mmap.mmap, begin: int) -> None:
    """Put those of the bytes from ``at`` on into ``target`` which belong there: it holds those from ``begin`` on."""
    first, last = max(at, begin), min(at + len(data), begin + len(target))
    if first < last:
        target[first - begin : last - begin] = data[first - at : last - at]


def _inflated(source: int, header: VolumeHeader, behind: _Behind) -> Iterator[bytes]:
    """Yield the inflated bytes, at most ``STEP_BYTES`` at a time, of one member after the other."""
    position = 0 if header.whole_file_compressed else header.voxel_offset
    while True:
        member = isal_zlib.decompressobj(wbits=WINDOW[header.compression])
        pending = data = b""
        while not member.eof:
            if not pending and not data:  # else the inflater may hold more than it gave
                pending = os.pread(source, READ_BYTES, position)
                position += len(pending)
                if not pending:
                    raise VolumeRefused("truncated", f"The compressed voxels end before their checksum. {REMEDY}")
            try:
                data = member.decompress(pending, STEP_BYTES)
            except isal_zlib.IsalError:  # type: ignore[misc]  # isal's stub does not say that it is one
                rule = f"The compressed voxels are broken, or their checksum is wrong. {REMEDY}"
                raise VolumeRefused("broken", rule) from None
            pending = member.unconsumed_tail
            yield data
        position -= len(member.unused_data)
        if header.compression != "gzip" or os.pread(source, len(GZIP_MAGIC), position) != GZIP_MAGIC:
            behind.packed_bytes = os.fstat(source).st_size - position
            return
