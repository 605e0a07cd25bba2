"""Why a network folder cannot serve: a message for its operator."""

from __future__ import annotations


class FolderRefused(Exception):
    """A network folder cannot serve; the sentence names the file, the value, the rule and the remedy."""
