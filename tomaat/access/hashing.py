"""How API keys and tickets' tokens are stored: as their hashes alone."""

from __future__ import annotations

import hashlib


def hash_of(secret: str) -> bytes:
    """Hash a key or a token as the database has it: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
