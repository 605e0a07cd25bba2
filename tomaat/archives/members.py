"""Find the files in the archive of a result by its own index, and read one of them without the others.

The index is the comment in gzip's head, which other tools skip. It is at most 64 KiB long: an archive of more files
than that holds, or of an earlier version, has none.
"""

from __future__ import annotations

import base64
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from isal import isal_zlib

FIXED = struct.pack("<BBB", 0x1F, 0x8B, 8)  #: gzip, deflate
REST = struct.pack("<IBB", 0, 0, 255)  #: no time, no system: RFC 1952
HEAD_BYTES = len(FIXED) + 1 + len(REST)
COMMENT = 16  #: the flag of a head that has a comment: text that ends with a NUL
BEGIN = HEAD_BYTES + 7
MARK = b"TM"  #: begins a comment that is an index; five hexadecimal digits follow, its length
LENGTH = re.compile(rb"[0-9a-f]{5}")
LONGEST_COMMENT = 65_535
ENTRY = struct.Struct("<QQ?H")  #: size, offset, stored, bytes of the name that follows
RAW_WINDOW = -15  #: zlib's word for "deflate, without a head and a trailer"
LONGEST_STORED = 65_535  #: bytes of a stored block: RFC 1951, 3.2.4
BLOCK_HEAD = 5  #: bytes in front of a stored block's
STEP_BYTES = 64 * 1024  #: read at once of what is deflated
INFLATED_BYTES = 256 * 1024  #: at most, at once
MOST_INFLATED = 1032  #: times its size a deflated file may have: zlib's technical details
MOST_BARREN_BYTES = 1024**2  #: deflated ones that may follow each other without a byte of the file


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file in an archive."""

    name: str
    size: int  #: in bytes, as it comes out
    offset: int  #: in the archive, of the first block that holds it
    stored: bool  #: in blocks of ``LONGEST_STORED`` bytes and a last one; else deflated, by itself


def index_of(members: Sequence[Member]) -> bytes:
    """Make gzip's head of an archive; its length depends on the names alone. Too many names get no index."""
    text = base64.b64encode(b"".join(_entry(member) for member in members))
    if len(text) > LONGEST_COMMENT:
        return FIXED + bytes([0]) + REST
    return FIXED + bytes([COMMENT]) + REST + MARK + b"%05x" % len(text) + text + b"\0"


def _entry(member: Member) -> bytes:
    name = member.name.encode(errors="surrogateescape")
    return ENTRY.pack(member.size, member.offset, member.stored, len(name)) + name


def members_of(archive: BinaryIO) -> list[Member]:
    """Read the index; none where there is none, or where it is not that of this archive."""
    descriptor = archive.fileno()
    head = os.pread(descriptor, BEGIN, 0)
    if len(head) < BEGIN or not head.startswith(FIXED + bytes([COMMENT]) + REST + MARK):
        return []
    if not LENGTH.fullmatch(head[-5:]):
        return []
    try:
        length = min(int(head[-5:], 16), LONGEST_COMMENT)
        entries = base64.b64decode(os.pread(descriptor, length, BEGIN), validate=True)
    except ValueError:
        return []
    bytes_there = os.fstat(descriptor).st_size
    members, at = [], 0
    try:
        while at < len(entries):
            size, offset, stored, length = ENTRY.unpack_from(entries, at)
            at += ENTRY.size + length
            name = entries[at - length : at].decode()
            packed = size + BLOCK_HEAD * -(-size // LONGEST_STORED) if stored else -(-size // MOST_INFLATED)
            end = offset + packed
            if at > len(entries) or end > bytes_there:
                return []
            members.append(Member(name=name, size=size, offset=offset, stored=stored))
    except (struct.error, UnicodeDecodeError):
        return []
    return members


def open_member(archive: BinaryIO, member: Member) -> MemberFile:
    """Read one file of an archive, which is closed with it; a read may give less than it is asked for."""
    return _Stored(archive, member) if member.stored else _Deflated(archive, member)


class MemberFile:
    """A file in an archive: where it is read next."""

    def __init__(self, archive: BinaryIO, member: Member) -> None:
        self.archive = archive
        self.member = member
        self.at = 0

    @property
    def closed(self) -> bool:
        """Whether it, and so its archive, is closed."""
        return self.archive.closed

    def tell(self) -> int:
        """Tell where it is read next."""
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; nothing is read before it is asked for."""
        self.at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.member.size}[whence]
        return self.at

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes; less does not mean the end.

        Raises ``OSError`` where there are too few, or they are broken.
        """
        left = max(0, self.member.size - self.at)
        if not left or not size:
            return b""
        data = self._some(left if size < 0 else min(size, left))
        if not data:
            raise OSError(f"the archive has less of a file than its index says: {self.at} of {self.member.size} bytes")
        self.at += len(data)
        return data

    def _some(self, most: int) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()


class _Stored(MemberFile):
    """Each block is as long as it may be, so that every byte's place is known."""

    def _some(self, most: int) -> bytes:
        block, within = divmod(self.at, LONGEST_STORED)
        place = self.member.offset + BLOCK_HEAD * (block + 1) + self.at
        return os.pread(self.archive.fileno(), min(most, LONGEST_STORED - within), place)


class _Deflated(MemberFile):
    """It is inflated from its begin on; the last bytes are held, so that going back a little costs nothing."""

    def __init__(self, archive: BinaryIO, member: Member) -> None:
        super().__init__(archive, member)
        self._begin()

    def _begin(self) -> None:
        self.inflating = isal_zlib.decompressobj(wbits=RAW_WINDOW)
        self.packed_at = self.member.offset
        self.packed = self.held = b""
        self.held_at = 0

    def _some(self, most: int) -> bytes:
        if self.at < self.held_at:
            self._begin()
        while self.at >= self.held_at + len(self.held):
            self.held_at += len(self.held)
            self.held = self._inflate()
            if not self.held:
                return b""
        begin = self.at - self.held_at
        return self.held[begin : begin + most]

    def _inflate(self) -> bytes:
        """Inflate the next bytes; nothing at the end of the archive, or of its data, or where these give nothing."""
        begin = self.packed_at
        while not self.inflating.eof:
            try:
                data: bytes = self.inflating.decompress(self.packed, INFLATED_BYTES)
            except isal_zlib.IsalError:  # type: ignore[misc]  # isal's stub does not say that it is one
                raise OSError(f"the archive's data of a file are broken, behind byte {self.at}") from None
            self.packed = self.inflating.unconsumed_tail
            if data:
                return data
            if not self.packed:
                if self.packed_at - begin >= MOST_BARREN_BYTES:
                    return b""
                self.packed = os.pread(self.archive.fileno(), STEP_BYTES, self.packed_at)
                self.packed_at += len(self.packed)
                if not self.packed:
                    return b""
        return b""
