"""The DICOM files of a folder, by their content: their names mean nothing, and others lie there too.

A file that does not begin as DICOM does is left out, by name, where it is surely no image; where it may be one (empty,
cut, overwritten) the folder is refused. The server has the same rule for zip archives, and the page for folders.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HEAD_BYTES = 132  #: of a file that the rule looks at
MAGIC_AT, MAGIC = 128, b"DICM"
#: How an image begins that has no preamble: an element of group 2 or 8, with its kind, or with a short length.
BARE = re.compile(rb"[\x02\x08]\0.\0([A-Z]{2}|.[\0-\x03]\0\0)", re.DOTALL)
#: What systems and exports put beside files; it is not even told.
CLUTTER = re.compile(
    r"(.*/)?(__MACOSX/.*|\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini|DICOMDIR)", re.IGNORECASE | re.DOTALL
)
EXTENSION = re.compile(r"[a-z][a-z0-9]{0,9}")  #: no part of a UID
#: Extensions of DICOM images, the absent one too, and of files whose copying did not end.
MAY_BE_IMAGES = {"", "dcm", "dicom", "dic", "ima", "part", "partial", "tmp", "crdownload", "download", "filepart"}
#: How programs, pictures, documents and archives begin.
OTHERS = (
    *(b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"#!"),
    *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF"),
    *(b"%PDF", b"\xd0\xcf\x11\xe0", b"bplist", b"SQLite", b"\xff\xfe", b"\xfe\xff"),
    *(b"PK\3\4", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ"),
)
NUMBERED = re.compile(r"(.*?)([0-9]{1,9})([^0-9]*)", re.DOTALL)
FEWEST_NUMBERED = 3  #: images that make an order of numbers
NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class DicomFolder:
    """What a folder and those below it hold; the names are paths below it, with ``/``."""

    images: list[Path]  #: in the order of their names
    left_out: list[str]  #: what is no image, links to folders and devices among it
    doubtful: list[str]  #: what may be an image that is broken


def look_through(folder: Path) -> DicomFolder:
    """Sort out the files of a folder; raises ``OSError`` for a folder or a file that cannot be read."""
    found: list[Path] = []
    others: list[str] = []
    doubtful: list[str] = []
    for place, folders, names in os.walk(folder, onerror=_raise):
        others += [_name(Path(place, name), folder) for name in folders if Path(place, name).is_symlink()]
        found += [Path(place, name) for name in names]
    heads: list[tuple[str, bytes]] = []
    images: list[Path] = []
    for path in sorted(found):
        name = _name(path, folder)
        if path.is_file():
            with path.open("rb") as file:
                heads.append((name, file.read(HEAD_BYTES)))
            if _begins_as_dicom(heads[-1][1]) and not CLUTTER.fullmatch(name):
                images.append(path)
        elif not CLUTTER.fullmatch(name):
            (doubtful if path.is_symlink() else others).append(name)  # a link that leads nowhere
    left_out, broken = sort_out(heads)
    return DicomFolder(images, sorted(others + left_out), sorted(doubtful + broken))


def sort_out(heads: Sequence[tuple[str, bytes]]) -> tuple[list[str], list[str]]:
    """Name, of the files that do not begin as DICOM does, those that are left out, and those that may be broken images.

    A file is surely no image where it has an extension, and that is neither DICOM's nor an image's here; or where it
    lies beside no image, and begins as a text, a program, a picture, a document or an archive; or where it is empty,
    and its number does not follow those of the images, which have no gap.
    """
    images = [name for name, head in heads if _begins_as_dicom(head) and not CLUTTER.fullmatch(name)]
    apart = _numbered_apart([name for name, head in heads if head == b""], images)
    extensions = MAY_BE_IMAGES | set(map(_extension, images))
    folders = {PurePosixPath(name).parent for name in images}
    left_out: list[str] = []
    doubtful: list[str] = []
    for name, head in heads:
        if not _begins_as_dicom(head) and not CLUTTER.fullmatch(name):
            beside = PurePosixPath(name).parent in folders
            other = head.startswith(OTHERS) or (head != b"" and NO_TEXT.search(head) is None)
            may_be = name not in apart and _extension(name) in extensions and (beside or not other)
            (doubtful if may_be else left_out).append(name)
    return left_out, doubtful


def _begins_as_dicom(head: bytes) -> bool:
    """Tell from a file's first bytes whether it is DICOM, with a preamble or without."""
    return head[MAGIC_AT:HEAD_BYTES] == MAGIC or BARE.match(head) is not None


def _numbered_apart(empty: Sequence[str], images: Sequence[str]) -> set[str]:
    """Name the empty files whose number does not follow on: the images of their folder are numbered without a gap."""
    apart: set[str] = set()
    for folder in {PurePosixPath(name).parent for name in empty}:
        here = [NUMBERED.fullmatch(name) for name in images if PurePosixPath(name).parent == folder]
        numbers = {int(each[2]) for each in here if each}
        kinds = {(each[1], each[3]) if each else None for each in here}
        if len(kinds) != 1 or not FEWEST_NUMBERED <= len(here) == len(numbers) == max(numbers) - min(numbers) + 1:
            continue
        others = {
            int(each[2]): name for name in empty if (each := NUMBERED.fullmatch(name)) and (each[1], each[3]) in kinds
        }
        run = numbers.copy()
        for number in (*sorted(others), *sorted(others, reverse=True)):
            if number - 1 in run or number in run or number + 1 in run:
                run.add(number)
        apart |= {name for number, name in others.items() if number not in run}
    return apart


def _extension(name: str) -> str:
    file = PurePosixPath(name).name
    last = file.rpartition(".")[2].lower()
    return last if "." in file and EXTENSION.fullmatch(last) else ""


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _raise(error: OSError) -> None:
    raise error
