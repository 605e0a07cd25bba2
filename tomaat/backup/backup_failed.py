"""Why there is no backup, or no restored service."""

from __future__ import annotations

from pathlib import Path


class BackupFailed(Exception):
    """Nothing half is left; the sentence says why, and what mends it."""

    @classmethod
    def unreadable(cls, backup: Path) -> BackupFailed:
        """Say that a backup may be whole, but is another user's."""
        return cls(f"{backup}: its files may not be read: the user that runs the doors must own them (chown -R).")
