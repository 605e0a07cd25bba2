"""Which names a member of a payload may have."""

from __future__ import annotations

import unicodedata

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.errors import ArchiveRefused


def parts_of(raw: bytes, limits: ArchiveLimits) -> tuple[str, ...]:
    """Check a member's name and split it; ``./`` in front and ``/`` behind are allowed.

    Raises ``ArchiveRefused`` for a name that is absolute, climbs, is too long or too deep, is not UTF-8, or has
    control characters. The name itself is not repeated: it may be a patient's.
    """
    if len(raw) > limits.longest_name_bytes:
        raise _refused(f"is longer than {limits.longest_name_bytes} bytes")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused("is not UTF-8") from None
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in name):
        raise _refused("has control characters")
    if "\\" in name or name.startswith("/"):
        raise _refused("is absolute or has a backslash")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise _refused("climbs with '..'")
    if len(parts) > limits.deepest_level:
        raise _refused(f"is deeper than {limits.deepest_level} levels")
    if any(len(part.encode()) > 255 for part in parts):  # noqa: PLR2004 (what file systems hold)
        raise _refused("has a part longer than 255 bytes")
    return parts


def same_name(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Fold a name so that two which some file system would take for one are equal."""
    return tuple(unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()) for part in parts)


def _refused(rule: str) -> ArchiveRefused:
    return ArchiveRefused("name", f"A member's name {rule}.")
