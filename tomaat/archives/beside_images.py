"""Tell what lies beside DICOM images from an image that is broken: nobody may lose a slice unheard.

A file that does not begin as DICOM does is left out, by name, where it is surely no image of the series; where it
may be one (empty, cut, overwritten), all is refused. ``tomaat/client/dicom_folder.py`` and the page's
``beside-images.js`` have the same rule, and the tests the same cases for all three.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from tomaat.headers.dicom_files import HEAD_BYTES, begins_as_dicom

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


def sort_out(heads: Sequence[tuple[str, bytes]]) -> tuple[list[str], list[str]]:
    """Name, of the files that do not begin as DICOM does, those that are left out, and those that may be broken images.

    ``heads`` has each file's path, with ``/`` between folders, and its first bytes. A file is surely no image
    where it has an extension, and that is neither DICOM's nor an image's here; or where it lies beside no image, and
    begins as a text, a program, a picture, a document or an archive; or where it is empty, and its number does not
    follow those of the images, which have no gap.
    """
    images = [name for name, head in heads if begins_as_dicom(head) and not is_clutter(name)]
    apart = numbered_apart([name for name, head in heads if head == b""], images)
    extensions = MAY_BE_IMAGES | set(map(extension_of, images))
    folders = {PurePosixPath(name).parent for name in images}
    left_out: list[str] = []
    doubtful: list[str] = []
    for name, head in heads:
        if not begins_as_dicom(head) and not is_clutter(name):
            beside = PurePosixPath(name).parent in folders
            other = head.startswith(OTHERS) or (head != b"" and NO_TEXT.search(head) is None)
            may_be = name not in apart and extension_of(name) in extensions and (beside or not other)
            (doubtful if may_be else left_out).append(name)
    return left_out, doubtful


def may_be_images(links: Iterable[str], images: Iterable[str]) -> list[str]:
    """Name, of links, those that may stand for images: by their names, since where they lead is not looked at.

    One without an extension may be an image only where an image that was sent has none, or none was sent.
    """
    sent = set(map(extension_of, images)) or {""}
    extensions = MAY_BE_IMAGES - {""} | sent
    return [name for name in links if extension_of(name) in extensions and not is_clutter(name)]


def is_image(path: Path) -> bool:
    """Tell whether a file begins as DICOM does."""
    with path.open("rb") as file:
        return begins_as_dicom(file.read(HEAD_BYTES))


def is_clutter(name: str) -> bool:
    """Tell whether a file, by its path, is what systems and exports put beside others."""
    return CLUTTER.fullmatch(name) is not None


def numbered_apart(empty: Sequence[str], images: Sequence[str]) -> set[str]:
    """Name the empty files whose number does not follow on: the images of their folder are numbered without a gap."""
    apart: set[str] = set()
    images_in = _by_folder(images)
    for folder, own in _by_folder(empty).items():
        here = [NUMBERED.fullmatch(name) for name in images_in.get(folder, ())]
        numbers = {int(each[2]) for each in here if each}
        kinds = {(each[1], each[3]) if each else None for each in here}
        if len(kinds) != 1 or not FEWEST_NUMBERED <= len(here) == len(numbers) == max(numbers) - min(numbers) + 1:
            continue
        others = {
            int(each[2]): name for name in own if (each := NUMBERED.fullmatch(name)) and (each[1], each[3]) in kinds
        }
        run = numbers.copy()
        for number in (*sorted(others), *sorted(others, reverse=True)):
            if number - 1 in run or number in run or number + 1 in run:
                run.add(number)
        apart |= {name for number, name in others.items() if number not in run}
    return apart


def _by_folder(names: Iterable[str]) -> dict[PurePosixPath, list[str]]:
    """Gather names by their folder, in one pass: a stranger's archive may have thousands of folders."""
    gathered: dict[PurePosixPath, list[str]] = {}
    for name in names:
        gathered.setdefault(PurePosixPath(name).parent, []).append(name)
    return gathered


def extension_of(name: str) -> str:
    """Give what stands behind a name's last dot, in lower case; nothing where that is a part of a UID, or no word.

    >>> extension_of("CD/Viewer.EXE"), extension_of("1.2.840.7"), extension_of("IM0001")
    ('exe', '', '')
    """
    file = PurePosixPath(name).name
    last = file.rpartition(".")[2].lower()
    return last if "." in file and EXTENSION.fullmatch(last) else ""
