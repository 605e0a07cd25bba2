"""Hash what a result's facts name."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHUNK_BYTES = 1024**2


def sha256(path: Path) -> str:
    """Hash a file's content; of a folder, that of its files one behind the other, by their names."""
    digest = hashlib.sha256()
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        with each.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
