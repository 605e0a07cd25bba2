"""Make files durable, and hash them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

CHUNK_BYTES = 1024**2


def flush(path: Path) -> None:
    """Make one file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(top: Path) -> None:
    """Make a folder durable with all that it holds, files first."""
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            flush(Path(folder, name))
        flush(Path(folder))


def sha256_of(path: Path) -> tuple[str, int]:
    """Read a file to its end; return its SHA-256 and its size in bytes.

    A folder counts as all files in it, one behind the other, in the order of their names.
    """
    digest, size_bytes = hashlib.sha256(), 0
    for each in _files_of(path):
        with each.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
            size_bytes += file.tell()
    return digest.hexdigest(), size_bytes


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(each.stat().st_size for each in _files_of(path))


def _files_of(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
