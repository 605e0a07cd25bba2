"""Unpack a payload of a stranger, streaming, and strictly: what is not exactly a payload is refused whole.

::

    bytes ── inflate ──▶ tar blocks ── header ──▶ members ── name ──▶ files, 0600
      │ NotGzip            │ broken-gzip, truncated,  │ not-a-tar, member-type,  │ name, doubled,
      │ upload-too-large   │ trailing-data, ratio,    │ header-number,           │ too-many-members
      │                    │ unpacked-too-large       │ long-header, truncated   │

Regular files and folders only: no devices, sparse files, global headers or base-256 numbers. An extended (PAX)
header may set ``path`` and ``size``; its times and owners are ignored. GNU's long name may set the path as well.
What systems put beside files (``.DS_Store``, ``._name``) is not written. The images of a DICOM series lie in a folder
``file-<id>``, however deep: one whose name is not plain gets a number before what is plain of it. A link among them
is left out, and told, where its name is surely no image's; where it leads is not looked at. Any other link refuses the
archive.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.beside_images import is_clutter, may_be_images
from tomaat.archives.errors import ArchiveRefused, ArchiveTooLarge
from tomaat.archives.inflate import inflate
from tomaat.archives.names import parts_of, same_name
from tomaat.refusals import shown

BLOCK = 512
LARGEST_PAX_BYTES = 64 * 1024
LONGEST_GNU_NAME = 4 * 1024
ZEROS = bytes(BLOCK)
FOLDER_TYPE = b"5"
LINK_TYPES = (b"1", b"2")
SAYING_TYPES = (b"x", b"L", b"K")  #: headers that say something of the next member
LONGEST_TOLD = 100  #: characters of a link's name
IMAGE_NAME = re.compile(rb"(?:\.?/)*(file-[^./\\]{1,64})[/\\](.+)", re.DOTALL)
NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
LONGEST_PLAIN = 60  #: characters that are kept of an image's name
IGNORED_PAX = frozenset({"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment", "charset"})
IGNORED_PAX_PREFIXES = ("LIBARCHIVE.", "SCHILY.", "APPLE.", "com.apple.", "RHT.")
TYPE_NAMES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"g": "a global header",
    b"K": "a long link",  # where no link follows
}


def unpack(chunks: Iterable[bytes], folder: Path, limits: ArchiveLimits) -> dict[str, list[str]]:
    """Write a payload's files below the empty ``folder``; ``chunks`` are the bytes of the ``.tar.gz``.

    Returns the names of the links that were left out, by the folder of images in which they lie. Raises ``NotGzip``,
    ``ArchiveTooLarge`` or ``ArchiveRefused``; an ``OSError`` (a full disk) passes. Before it raises, it removes all
    that it wrote.
    """
    try:
        return _Unpacking(inflate(chunks, limits), folder, limits).run()
    except BaseException:
        empty(folder)
        raise


def empty(folder: Path) -> None:
    """Remove all that a refused archive has left in its folder."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


class _Stream:
    """Exact reads from an iterator of byte strings, never holding more than one of them and what was asked for."""

    def __init__(self, data: Iterator[bytes]) -> None:
        self.data = data
        self.held = memoryview(b"")

    def some(self, most: int) -> memoryview:
        """Return between one and ``most`` bytes; nothing at the end."""
        if not self.held:
            self.held = memoryview(next(self.data, b""))
        taken, self.held = self.held[:most], self.held[most:]
        return taken

    def exactly(self, count: int) -> bytes:
        """Return ``count`` bytes. Raises ``ArchiveRefused`` when the data end before."""
        gathered = bytearray()
        while len(gathered) < count:
            part = self.some(count - len(gathered))
            if not part:
                raise ArchiveRefused("truncated", "The archive ends within a member.")
            gathered += part
        return bytes(gathered)


@dataclass(kw_only=True)
class _Said:
    """What extended headers said of the member that follows them."""

    name: bytes | None = None  #: GNU's long one
    pax: dict[str, bytes] = field(default_factory=dict)
    leads: bool = False  #: to where it leads, by GNU's long name of a link


class _Unpacking:
    """One archive's way through the reader."""

    def __init__(self, data: Iterator[bytes], folder: Path, limits: ArchiveLimits) -> None:
        self.stream = _Stream(data)
        self.folder = folder
        self.limits = limits
        self.members = 0
        self.seen: dict[tuple[str, ...], str] = {}  # folded name -> "file" | "folder" | "implied"
        self.links: dict[str, list[str]] = {}
        self.images: dict[str, list[str]] = {}

    def run(self) -> dict[str, list[str]]:
        said = _Said()
        while (header := self.stream.exactly(BLOCK)) != ZEROS:
            self.members += 1
            if self.members > self.limits.most_members:
                raise ArchiveTooLarge(
                    "too-many-members", f"The archive has more than {self.limits.most_members} members."
                )
            kind, size = _check(header)
            if kind in SAYING_TYPES:
                self._hear(said, kind, size)
            else:
                self._take(said, kind, header, size)
                said = _Said()
        if said.leads:
            raise _no_file(b"K")
        if said.name is not None or said.pax:
            raise ArchiveRefused("truncated", "The archive ends after an extended header.")
        self._end()
        for folder, links in self.links.items():
            if doubtful := may_be_images(links, self.images.get(folder, ())):
                rule = f"{shown(doubtful[0])} in {folder} is a link, and may stand for an image"
                raise ArchiveRefused("member-type", f"{rule} (tar -h packs what links lead to).")
        return {folder: [name[:LONGEST_TOLD] for name in links] for folder, links in self.links.items()}

    def _hear(self, said: _Said, kind: bytes, size: int) -> None:
        """Read a header that says something of the next member."""
        if kind == b"x":
            if said.pax:
                raise ArchiveRefused("not-a-tar", "Two extended headers follow each other.")
            said.pax = _parse_pax(self._header_data(size, LARGEST_PAX_BYTES))
        elif kind == b"K":
            self._header_data(size, LONGEST_GNU_NAME)
            said.leads = True
        else:
            if said.name is not None:
                raise ArchiveRefused("not-a-tar", "Two long names follow each other.")
            said.name = self._header_data(size, LONGEST_GNU_NAME).rstrip(b"\0")

    def _take(self, said: _Said, kind: bytes, header: bytes, size: int) -> None:
        name = said.pax.get("path", said.name if said.name is not None else _name_of(header))
        if "size" in said.pax:
            size = _decimal(said.pax["size"])
        if kind in LINK_TYPES:
            self._leave_out(kind, name, size)
        elif said.leads or "linkpath" in said.pax:
            raise _no_file(b"K")
        else:
            self._member(kind, name, size)

    def _header_data(self, size: int, largest: int) -> bytes:
        if size > largest:
            raise ArchiveRefused("long-header", f"An extended header of {size} bytes is longer than {largest}.")
        return self.stream.exactly(-(-size // BLOCK) * BLOCK)[:size]

    def _leave_out(self, kind: bytes, name: bytes, size: int) -> None:
        """Note a link among images, which are not all known yet; refuse any other one."""
        inside = IMAGE_NAME.fullmatch(name)
        if inside is None or size:
            raise _no_file(kind)
        if not is_clutter(name.decode("latin-1")):
            self.links.setdefault(inside[1].decode("latin-1"), []).append(inside[2].decode(errors="replace"))

    def _member(self, kind: bytes, name: bytes, size: int) -> None:
        is_folder = kind == FOLDER_TYPE or (kind in (b"0", b"\0") and name.endswith(b"/"))
        inside = IMAGE_NAME.fullmatch(name)
        if is_clutter(name.decode("latin-1")) or (inside is not None and is_folder):
            self._copy(size, None)
            return
        parts = parts_of(name, self.limits) if inside is None else self._image_parts(*inside.groups())
        if is_folder and size:
            raise ArchiveRefused("not-a-tar", "A folder in the archive has content.")
        if not parts:
            if not is_folder:
                raise ArchiveRefused("name", "A member has no name.")
            return
        self._note(parts, "folder" if is_folder else "file")
        target = self.folder.joinpath(*parts)
        if is_folder:
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            self._copy(size, descriptor)
        finally:
            os.close(descriptor)

    def _image_parts(self, folder: bytes, name: bytes) -> tuple[str, ...]:
        """Name an image of a series: as it is, where that is one plain part that is not there yet."""
        self.images.setdefault(folder.decode("latin-1"), []).append(name.decode(errors="replace"))
        try:
            parts = parts_of(folder + b"/" + name, self.limits)
        except ArchiveRefused:
            parts = ()
        if len(parts) == 2 and same_name(parts) not in self.seen:  # noqa: PLR2004 (the folder and the name)
            return parts
        plain = NOT_PLAIN.sub("_", name.decode("latin-1"))[-LONGEST_PLAIN:]
        return (*parts_of(folder, self.limits), f"{self.members:06d} {plain}")

    def _note(self, parts: tuple[str, ...], kind: str) -> None:
        """Refuse two names that some file system takes for one, and a file where a folder has to be."""
        folded = same_name(parts)
        for depth in range(1, len(folded)):
            self._note_one(folded[:depth], parts[:depth], "implied")
        self._note_one(folded, parts, kind)

    def _note_one(self, folded: tuple[str, ...], parts: tuple[str, ...], kind: str) -> None:
        noted = f"{kind} {'/'.join(parts)}"
        before = self.seen.get(folded)
        if before is None:
            self.seen[folded] = noted
            return
        known, spelled = before.split(" ", 1)
        if spelled != "/".join(parts) or "file" in {kind, known} or (kind == known == "folder"):
            raise ArchiveRefused("doubled", "Two members of the archive have the same name (letter case aside).")
        if kind == "folder":
            self.seen[folded] = noted

    def _copy(self, size: int, descriptor: int | None) -> None:
        left = size
        while left:
            data = self.stream.some(left)
            if not data:
                raise ArchiveRefused("truncated", "The archive ends within a member.")
            left -= len(data)
            while descriptor is not None and data:
                data = data[os.write(descriptor, data) :]
        if size % BLOCK:
            self.stream.exactly(BLOCK - size % BLOCK)

    def _end(self) -> None:
        """Demand the second block of zeros, and nothing but zeros after it."""
        if self.stream.exactly(BLOCK) != ZEROS:
            raise ArchiveRefused("not-a-tar", "The archive's end is marked by one block of zeros instead of two.")
        while data := self.stream.some(BLOCK * 128):
            if any(data):
                raise ArchiveRefused("trailing-data", "The archive goes on after its end.")


def _check(header: bytes) -> tuple[bytes, int]:
    """Check a header block; return its type and the size that it claims."""
    expected = sum(header) - sum(header[148:156]) + 8 * 0x20
    try:
        checksum = int(header[148:156].rstrip(b"\0 ") or b"x", 8)
    except ValueError:
        checksum = -1
    if checksum != expected:
        raise ArchiveRefused(
            "not-a-tar", "The payload is gzip, but no tar archive in it: a header has a wrong checksum."
        )
    kind = header[156:157]
    if kind not in (b"0", b"\0", FOLDER_TYPE, *SAYING_TYPES, *LINK_TYPES):
        raise _no_file(kind)
    return kind, _octal(header[124:136])


def _no_file(kind: bytes) -> ArchiveRefused:
    what = TYPE_NAMES.get(kind, "of an unknown type")
    rule = f"A member is {what}; only files and folders are taken (tar -h packs what links lead to)."
    return ArchiveRefused("member-type", rule)


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if any(digit not in b"01234567" for digit in digits):
        raise ArchiveRefused("header-number", "A member's size is not an octal number.")
    return int(digits, 8)


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18:  # noqa: PLR2004 (digits of the largest file there is)
        raise ArchiveRefused("header-number", "A member's size in an extended header is not a decimal number.")
    return int(value)


def _name_of(header: bytes) -> bytes:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0", 1)[0]
        return prefix + b"/" + name if prefix else name
    return name


def _parse_pax(data: bytes) -> dict[str, bytes]:
    r"""Read an extended header's records, ``<length> <key>=<value>\\n``; keep what is honoured."""
    kept: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        digits, space, _ = data[position : position + 8].partition(b" ")
        if not space or not digits.isdigit():
            raise _broken_pax()
        record = data[position : position + int(digits)]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != int(digits) or not record.endswith(b"\n") or not equals or int(digits) <= len(digits) + 2:
            raise _broken_pax()
        position += len(record)
        name = key.decode("utf-8", errors="replace")
        if name in {"path", "size", "linkpath"}:
            if name in kept or b"\0" in value:
                raise _broken_pax()
            kept[name] = value
        elif name not in IGNORED_PAX and not name.startswith(IGNORED_PAX_PREFIXES):
            raise ArchiveRefused("member-type", "A member's extended header asks for what no payload needs.")
    return kept


def _broken_pax() -> ArchiveRefused:
    return ArchiveRefused("not-a-tar", "A member's extended header is broken.")
