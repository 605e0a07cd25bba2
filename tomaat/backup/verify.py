"""Tell whether a backup is whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from tomaat.backup.backup_failed import BackupFailed
from tomaat.backup.manifest import DUMP, Manifest
from tomaat.contents.digest import sha256_of

MOST_NAMED = 5


def verify(folder: Path) -> Manifest:
    """Read every file of a backup. Raises ``BackupFailed`` unless each is the same as when it was backed up."""
    manifest = Manifest.read(folder)
    try:
        damaged = [path for path, facts in manifest.files.items() if _found(folder / path) != facts]
    except PermissionError:
        raise BackupFailed.unreadable(folder) from None
    if damaged:
        places = Counter(_place(path) for path in damaged)
        named = ", ".join(list(places)[:MOST_NAMED]) + (", …" if len(places) > MOST_NAMED else "")
        raise BackupFailed(
            f"{folder}: {len(damaged)} of {len(manifest.files)} files are missing or damaged, in {named}: "
            "use another backup."
        )
    return manifest


def _found(file: Path) -> tuple[str, int] | None:
    try:
        return sha256_of(file)
    except PermissionError:
        raise
    except OSError:  # it is missing, or its disk is broken
        return None


def _place(path: str) -> str:
    """Name the ticket's folder, not the file, whose name may be a patient's."""
    return path if path == DUMP else "/".join(PurePosixPath(path).parts[:2])
