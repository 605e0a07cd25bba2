"""Take the DICOM images out of a stranger's zip archive, under the limits of a payload.

Only what begins as DICOM does is written, as ``<number>.dcm`` in the archive's order: names in such archives are often
patients', and a viewer, a ``DICOMDIR`` or a picture beside the images is nobody's business here. So a name may be
anything. An archive within the archive is such another file: it is not opened. What is left out, links too, is told to
whoever sent it; a file that may be a broken image (``beside_images``), or a link that may stand for one, refuses the
archive, as all else that is wrong does.
"""

from __future__ import annotations

import errno
import os
import stat
import zipfile
from pathlib import Path
from typing import IO

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.beside_images import may_be_images, sort_out
from tomaat.archives.errors import ArchiveRefused, ArchiveTooLarge
from tomaat.archives.unpack import empty
from tomaat.archives.zip_directory import check_directory
from tomaat.headers.dicom_files import HEAD_BYTES, begins_as_dicom
from tomaat.refusals import shown

METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
ENCRYPTED = 0x1
CHUNK_BYTES = 256 * 1024
MOST_NAMED = 4  #: files that a refusal lists
OTHERS = {b"7z\xbc\xaf": "7z", b"Rar!": "RAR", b"\x1f\x8b": "gzip"}  #: archives, by how they begin
UNIX = 3  #: the system on which a member's mode means what it says


def unzip_dicom(archive: Path, folder: Path, limits: ArchiveLimits) -> list[str]:
    """Write the images below the empty ``folder``; return the names of the files that were left out.

    Raises ``ArchiveRefused``, or ``ArchiveTooLarge`` beyond a limit; an ``OSError`` (a full disk) passes. Whatever is
    raised, what was written is removed first.
    """
    try:
        with archive.open("rb") as file:
            _check_begin(file.read(4))
            check_directory(file, limits)
            with zipfile.ZipFile(file) as source:
                return _Unzipping(source, os.fstat(file.fileno()).st_size, limits).write(folder)
    except BaseException as error:
        empty(folder)
        if isinstance(error, ArchiveRefused) or not isinstance(error, Exception):
            raise
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that comes of seeking before the beginning
            raise
        # zipfile raises BadZipFile, but zlib's, struct's and Python's own errors too
        raise ArchiveRefused("broken-zip", "The zip archive is broken or cut; pack it again.") from None


class _Unzipping:
    """One archive's way through, and how much has come out of it."""

    def __init__(self, source: zipfile.ZipFile, packed_bytes: int, limits: ArchiveLimits) -> None:
        self.source = source
        self.packed_bytes = packed_bytes
        self.limits = limits
        self.produced = 0
        self.heads: list[tuple[str, bytes]] = []

    def write(self, folder: Path) -> list[str]:
        members = self.source.infolist()
        for member in members:
            _check(member)
        links = []
        for number, member in enumerate(members):
            name = member.filename.replace("\\", "/")  # as some packers on Windows write it
            if _is_link(member):
                links.append(name)
            elif not name.endswith("/"):
                with self.source.open(member) as file:
                    self._take(file, name, folder / f"{number:05}.dcm")
        left_out, doubtful = sort_out(self.heads)
        left_out += links
        if doubtful:
            raise _doubtful(doubtful)
        if linked := may_be_images(links, [name for name, head in self.heads if begins_as_dicom(head)]):
            rule = f"{shown(linked[0])} in the zip archive is a link, and may stand for an image"
            raise ArchiveRefused("member-type", f"{rule} (zip without -y packs what links lead to).")
        if left_out and not any(begins_as_dicom(head) for _, head in self.heads):
            rule = f"No DICOM image was sent; the zip archive holds {_listed(left_out)}"
            raise ArchiveRefused(
                "no-dicom", f"{rule}. Send a volume of another format, or the inner archive, by itself."
            )
        return left_out

    def _take(self, file: IO[bytes], name: str, target: Path) -> None:
        """Inflate a member to its verified checksum, into ``target`` if it is an image."""
        data = self._read(file, HEAD_BYTES)
        self.heads.append((name, data))
        descriptor = None
        if begins_as_dicom(data):
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            while data:
                while descriptor is not None and data:
                    data = data[os.write(descriptor, data) :]
                data = self._read(file, CHUNK_BYTES)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _read(self, file: IO[bytes], most: int) -> bytes:
        data = file.read(most)
        self.produced += len(data)
        if self.produced > self.limits.largest_unpacked_bytes:
            rule = f"The zip archive unpacks to more than {self.limits.largest_unpacked_bytes} bytes."
            raise ArchiveTooLarge("unpacked-too-large", rule)
        if self.produced > max(self.limits.ratio_free_bytes, self.limits.largest_ratio * self.packed_bytes):
            rule = f"The zip archive unpacks to more than {self.limits.largest_ratio:g} times its size."
            raise ArchiveTooLarge("ratio", rule)
        return data


def _check_begin(head: bytes) -> None:
    for begin, kind in OTHERS.items():
        if head.startswith(begin):
            raise ArchiveRefused("broken-zip", f"The file is a {kind} archive, no zip; pack the images as a plain zip.")


def _check(member: zipfile.ZipInfo) -> None:
    if member.flag_bits & ENCRYPTED:
        rule = "A member of the zip archive is encrypted; pack the images without a password."
        raise ArchiveRefused("encrypted", rule)
    if member.compress_type not in METHODS:
        rule = "A member of the zip archive is neither stored nor deflated; pack the images as a plain zip."
        raise ArchiveRefused("zip-method", rule)


def _is_link(member: zipfile.ZipInfo) -> bool:
    """Tell whether a member is a link, a device or a pipe: no file of its own."""
    kind = stat.S_IFMT(member.external_attr >> 16) if member.create_system == UNIX else 0
    return kind not in {0, stat.S_IFREG, stat.S_IFDIR}


def _doubtful(names: list[str]) -> ArchiveRefused:
    count = "1 file" if len(names) == 1 else f"{len(names)} files"
    rule = f"{count} of the zip archive may be an image that is broken (empty, or no DICOM): {_listed(names)}"
    return ArchiveRefused("not-dicom", f"{rule}. Pack the series again from its source, or without what is no image.")


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown, names[:MOST_NAMED])) + (", …" if len(names) > MOST_NAMED else "")
