"""Carry files from one folder to another; on one file system by links."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from tomaat.contents.digest import CHUNK_BYTES
from tomaat.storage.disk import is_disk_full
from tomaat.storage.files import flush

NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES}  #: then it is copied


def carry(file: Path, target: Path) -> None:
    """Give ``target`` the contents of ``file``, durably: a link where possible, else a copy for this user alone.

    The file must never be written to again.
    """
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with file.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(source, copy, CHUNK_BYTES)
        flush(target)


def trouble_of(error: OSError, *, writing: Path, reading: Path) -> str:
    """Describe the error that stopped the carrying, and on which side if that is known, without the name of a file."""
    if writing.exists() and is_disk_full(error, writing):
        return f"{writing} is full: make room there, or choose another place"
    names = [Path(name) for name in (error.filename, error.filename2) if isinstance(name, (str, Path))]
    sides = [folder for folder in (writing, reading) if any(name.is_relative_to(folder) for name in names)]
    return f"{' or '.join(map(str, sides or (writing, reading)))}: {error.strerror}"


def make_folders(folder: Path, below: Path) -> None:
    """Make ``folder`` and the folders between it and ``below``, for this user alone."""
    if folder != below and not folder.exists():
        make_folders(folder.parent, below)
        folder.mkdir(mode=0o700)
