"""How a running task learns that its client gave it up."""

from __future__ import annotations


class Cancelled(Exception):
    """Raised by ``Task.progress``; a task lets it pass, so that its compute source becomes free."""
