"""Bound a zip archive's directory before anything reads it whole.

::

    members … │ directory: an entry for each member │ ZIP64 end record │ ZIP64 locator │ end record │ comment
                                                      56 bytes           20 bytes        22 bytes     to the last byte

Python's ``zipfile`` believes what the end records say, reads as many bytes at once, and makes an object for each entry,
however many there are. So the records are read here first, in the only places where ``zipfile`` looks for them, and
the entries are counted one by one. Source of the layouts: PKWARE's APPNOTE.TXT 6.3.10, 4.3.12 to 4.3.16.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.errors import ArchiveRefused, ArchiveTooLarge

ENTRY_BYTES = 1024  #: that an entry may have on average: 46, its name, and what the packer adds
LONGEST_COMMENT = 65_535
ENTRY = struct.Struct("<4s24x3H12x")  #: signature; lengths of name, extra field and comment
END = struct.Struct("<4s4x2H2LH")  #: signature; entries here, in all; bytes of the directory, its place; of a comment
LOCATOR = struct.Struct("<4sLQL")  #: signature; disk and place of the record below; disks
END_64 = struct.Struct("<4sQ12x4Q")  #: signature; bytes that follow this number; entries and directory as in END
SIGNATURE, END_SIGNATURE, LOCATOR_SIGNATURE, END_64_SIGNATURE = b"PK\1\2", b"PK\5\6", b"PK\6\7", b"PK\6\6"


def check_directory(archive: BinaryIO, limits: ArchiveLimits) -> None:
    """Demand a directory of at most ``most_members`` entries, and of a size that as many may have.

    Raises ``ArchiveTooLarge``, or ``ArchiveRefused`` where the records contradict each other.
    """
    at, entries, size = _end(archive)
    most = limits.most_members
    if entries > most:
        raise _too_many(most)
    if size > ENTRY_BYTES * most:
        rule = f"The zip archive's directory has {size} bytes; at most {ENTRY_BYTES * most} are taken."
        raise ArchiveTooLarge("directory", rule)
    if size > at:
        raise _broken()
    if _counted(archive, at - size, at, most) != entries:
        raise _broken()


def _counted(archive: BinaryIO, place: int, end: int, most: int) -> int:
    """Count the entries that fill the bytes from ``place`` to ``end``."""
    count = 0
    while place < end:
        signature, *lengths = ENTRY.unpack(_bytes(archive, place, ENTRY.size))
        place += ENTRY.size + sum(lengths)
        count += 1
        if count > most:
            raise _too_many(most)
        if signature != SIGNATURE or place > end:
            raise _broken()
    return count


def _end(archive: BinaryIO) -> tuple[int, int, int]:
    """Return where the directory ends, how many entries it claims to have, and how many bytes."""
    place = _place_of_end(archive)
    _, here, entries, size, _, _ = END.unpack(_bytes(archive, place, END.size))
    before = place - LOCATOR.size
    if before >= 0:
        signature, _, place_64, disks = LOCATOR.unpack(_bytes(archive, before, LOCATOR.size))
        if signature == LOCATOR_SIGNATURE:
            place = before - END_64.size
            if place_64 != place or disks > 1:
                raise _broken()
            signature, follow, here, entries, size, _ = END_64.unpack(_bytes(archive, place, END_64.size))
            if signature != END_64_SIGNATURE or follow != END_64.size - 12:
                raise _broken()
    if here != entries:
        raise _broken()
    return place, entries, size


def _place_of_end(archive: BinaryIO) -> int:
    """Find the end record: the last one, whose comment reaches to the last byte."""
    all_bytes = archive.seek(0, os.SEEK_END)
    start = max(0, all_bytes - END.size - LONGEST_COMMENT)
    tail = _bytes(archive, start, all_bytes - start)
    place = len(tail) - END.size
    if not (place >= 0 and tail.startswith(END_SIGNATURE, place) and tail.endswith(b"\0\0")):
        place = tail.rfind(END_SIGNATURE)
    if not 0 <= place <= len(tail) - END.size or place + END.size + END.unpack_from(tail, place)[5] != len(tail):
        raise _broken()
    return start + place


def _bytes(archive: BinaryIO, place: int, count: int) -> bytes:
    """Read ``count`` bytes. Raises ``ArchiveRefused`` where they are not there."""
    if place < 0:
        raise _broken()
    archive.seek(place)
    data = archive.read(count)
    if len(data) != count:
        raise _broken()
    return data


def _too_many(most: int) -> ArchiveTooLarge:
    return ArchiveTooLarge("too-many-members", f"The zip archive has more than {most} members.")


def _broken() -> ArchiveRefused:
    return ArchiveRefused("broken-zip", "The zip archive is broken or cut; pack it again.")
