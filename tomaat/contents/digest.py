"""The SHA-256 of a file or a folder, and its size."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHUNK_BYTES = 1024**2


def sha256_of(path: Path) -> tuple[str, int]:
    """Read a file to its end; return its SHA-256 and its size in bytes.

    A folder counts as all files in it, one behind the other, in the order of their names.
    """
    digest, size_bytes = hashlib.sha256(), 0
    for each in [path / name for name in names_in(path)] if path.is_dir() else [path]:
        with each.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
            size_bytes += file.tell()
    return digest.hexdigest(), size_bytes


def sha256_of_weights(path: Path) -> str:
    r"""Return the SHA-256 of a network's file, or of its folder, in which the names of the files count as well.

    A folder's is that of the lines which ``sha256sum`` writes of its files, in the order of their names. In a shell,
    in the folder: ``find -L . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum``.
    """
    if not path.is_dir():
        return sha256_of(path)[0]
    digest = hashlib.sha256()
    for name in names_in(path):
        digest.update(f"{sha256_of(path / name)[0]}  {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


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
