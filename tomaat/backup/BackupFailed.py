"""Why there is no backup, or no restored service."""


class BackupFailed(Exception):
    """Nothing half is left; the sentence says why, and what mends it."""
