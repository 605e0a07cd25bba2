"""Hash what a result's facts name."""

from __future__ import annotations

import hashlib
from pathlib import Path

CHUNK_BYTES = 1024**2


def sha256(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
