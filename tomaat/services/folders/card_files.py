"""The files of a network folder with a card."""

from __future__ import annotations

from pathlib import Path

CARD = "tomaat.yaml"


def files_of(place: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files of a folder that end in one of the suffixes."""
    return sorted(each for each in place.iterdir() if each.is_file() and each.name.lower().endswith(suffixes))
