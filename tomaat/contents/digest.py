"""The SHA-256 of a file or a folder, and its size."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHUNK_BYTES = 1024**2


def sha256_of(path: Path) -> tuple[str, int]:
    r"""Read a file to its end; return its SHA-256 and its size in bytes.

    A folder's is that of the lines which ``sha256sum`` writes of its files, in the order of their names: a file that
    is renamed, or moved, changes it as well. In a shell, in the folder: ``find -L . -type f -printf '%P\0' |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum``.
    """
    if not path.is_dir():
        return _of_file(path)
    digest, size_bytes = hashlib.sha256(), 0
    for name in names_in(path):
        of_file, bytes_of_file = _of_file(path / name)
        digest.update(f"{of_file}  {name}\n".encode("utf-8", "surrogateescape"))
        size_bytes += bytes_of_file
    return digest.hexdigest(), size_bytes


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum((path / name).stat().st_size for name in names_in(path)) if path.is_dir() else path.stat().st_size


def names_in(folder: Path) -> list[str]:
    """Name all files in a folder and below, relative to it and with ``/``; a link to a folder is not followed."""
    found = [
        file.relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for name in names
        if (file := Path(place, name)).is_file()
    ]
    return sorted(found, key=os.fsencode)


def _of_file(path: Path) -> tuple[str, int]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
        return digest.hexdigest(), file.tell()
