"""The files of a DICOM series as they lie in a folder. Standard library only; nothing is read of them but the magic."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from tomaat.headers.checks import open_folder
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.refusals import shown

MAGIC_AT, MAGIC = 128, b"DICM"
HEAD_BYTES = MAGIC_AT + len(MAGIC)  #: of a file, by which it is known
#: How an image begins that has no preamble: an element of group 2 or 8, with its kind, or with a short length.
BARE = re.compile(rb"[\x02\x08]\0.\0([A-Z]{2}|.[\0-\x03]\0\0)", re.DOTALL)
MOST_IMAGES = 5000  #: of one folder; a thin-slice CT of a whole body has about 2,000


def begins_as_dicom(head: bytes) -> bool:
    """Tell from a file's first bytes whether it is DICOM, with a preamble or without."""
    return head[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC or BARE.match(head) is not None


def file_names(folder: int) -> list[str]:
    """Name the files in a folder, given as a descriptor, in the order in which the images are numbered."""
    return sorted(os.listdir(folder))


def check_series_folder(path: Path) -> None:
    """Demand that a folder holds files, and that each of them begins as DICOM does. Raises ``VolumeRefused``."""
    with open_folder(path) as folder:
        names = file_names(folder)
        if not names:
            raise VolumeRefused("no-dicom", "No DICOM image was sent; the archive, or the folder, holds none.")
        if len(names) > MOST_IMAGES:
            raise VolumeRefused("too-many-images", f"{len(names)} images were sent; at most {MOST_IMAGES} are taken.")
        for name in names:
            if not _is_dicom(name, folder):
                if os.stat(name, dir_fd=folder, follow_symlinks=False).st_size == 0:
                    rule = f"{shown(name)} is empty; copy the series again from its source."
                else:
                    rule = f"{shown(name)} is no DICOM file; send images only."
                raise VolumeRefused("not-dicom", rule)


def _is_dicom(name: str, folder: int) -> bool:
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return False
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        return begins_as_dicom(os.pread(descriptor, HEAD_BYTES, 0))
    finally:
        os.close(descriptor)
