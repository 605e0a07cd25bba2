"""Inflate one gzip member, to its verified trailer, with a bound on what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from isal import isal_zlib

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.errors import ArchiveRefused, ArchiveTooLarge, NotGzip

STEP_BYTES = 256 * 1024
GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 31  #: zlib's word for "gzip, with its trailer checked"


def inflate(chunks: Iterable[bytes], limits: ArchiveLimits) -> Iterator[bytes]:
    """Yield what ``chunks`` inflate to, at most 256 KiB at a time.

    Raises ``NotGzip``; ``ArchiveTooLarge`` for the packed, the unpacked size or the ratio; ``ArchiveRefused`` for
    broken data, a wrong checksum or length, an early end, or anything after the first member.
    """
    member = isal_zlib.decompressobj(wbits=GZIP_WINDOW)
    packed = unpacked = 0
    head = b""
    ended = False
    for chunk in filter(None, chunks):
        packed += len(chunk)
        if packed > limits.largest_upload_bytes:
            raise ArchiveTooLarge(
                "upload-too-large", f"The payload is larger than {limits.largest_upload_bytes} bytes."
            )
        head = _check_magic(head, chunk)
        for data in _steps(member, chunk):
            unpacked += len(data)
            _check_size(packed, unpacked, limits)
            yield data
        if member.eof and (member.unused_data or ended):
            raise ArchiveRefused("trailing-data", "The payload goes on after its first gzip member; it must be one.")
        ended = member.eof
    if len(head) < len(GZIP_MAGIC):
        raise NotGzip("not-gzip", "The payload is empty; it must be a .tar.gz.")
    if not member.eof:
        raise ArchiveRefused("truncated", "The payload ends before its gzip data does; send it again.")


def _steps(member: isal_zlib.Decompress, chunk: bytes) -> Iterator[bytes]:
    """Yield what a chunk inflates to; the inflater may hold more than it gives, also when it took all."""
    pending, data = chunk, b"?"
    while (pending or data) and not member.eof:
        try:
            data = member.decompress(pending, STEP_BYTES)
        except isal_zlib.IsalError as error:  # type: ignore[misc]  # isal's stub does not say that it is one
            raise ArchiveRefused(
                "broken-gzip", "The payload's gzip data is broken or its checksum is wrong."
            ) from error
        pending = member.unconsumed_tail
        if data:
            yield data


def _check_magic(head: bytes, chunk: bytes) -> bytes:
    """Gather the first two bytes and refuse what cannot become gzip."""
    head = (head + chunk[: len(GZIP_MAGIC)])[: len(GZIP_MAGIC)]
    if not GZIP_MAGIC.startswith(head):
        raise NotGzip("not-gzip", "The payload is not gzip; it must be a .tar.gz.")
    return head


def _check_size(packed: int, unpacked: int, limits: ArchiveLimits) -> None:
    if unpacked > limits.largest_unpacked_bytes:
        raise ArchiveTooLarge(
            "unpacked-too-large", f"The payload is larger than {limits.largest_unpacked_bytes} bytes when unpacked."
        )
    if unpacked > limits.ratio_free_bytes and unpacked > limits.largest_ratio * packed:
        raise ArchiveTooLarge(
            "ratio", f"The payload unpacks to more than {limits.largest_ratio:g} times its size, which no volume does."
        )
