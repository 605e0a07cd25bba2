"""Why there is no backup, or no restored service."""

from __future__ import annotations

from pathlib import Path


class BackupFailed(Exception):
    """Nothing half is left. The message gives the cause and the remedy."""

    @classmethod
    def unreadable(cls, backup: Path) -> BackupFailed:
        """Make the error of a backup that belongs to another user."""
        return cls(f"{backup}: its files may not be read: the user that runs the doors must own them (chown -R).")
