"""The folder of a trained network, as its tool left it: how it is known, its state, and whether it is trusted.

Nothing in the folder is run or loaded here.
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from tomaat.contents.digest import names_in, sha256_of_weights

#: Files by which a folder is known for a network's: of a card, of nnU-Net, of a MONAI bundle.
MARKERS = ("tomaat.yaml", "plans.json", "configs/metadata.json")
TRUSTED = ".trusted.json"  #: beside the folders: the SHA-256 of each that was trusted, by its name


def is_network_folder(path: Path) -> bool:
    """Tell a trained network's folder from a package of helpers, or from any other folder; a hidden one is none.

    Nor is one that may not be looked into, such as ``lost+found``.
    """
    try:
        return not path.name.startswith((".", "_")) and any((path / marker).is_file() for marker in MARKERS)
    except OSError:
        return False


def state_of(place: Path) -> str:
    """Tell in a text by which a change shows: the files with their sizes and times, and whether it is trusted."""
    lines = [f"trusted {trusted_sha256(place)}"]
    for name in names_in(place):
        facts = (place / name).stat()
        lines.append(f"{facts.st_size} {facts.st_mtime_ns} {name}")
    return "\n".join(lines) + "\n"


def trusted_sha256(place: Path) -> str | None:
    """Tell which SHA-256 a folder had when it was trusted; ``None`` if it never was.

    Raises ``PermissionError`` where that may not be read.
    """
    trusted = _read(place.parent / TRUSTED).get(place.name)
    return trusted if isinstance(trusted, str) else None


def trust(place: Path) -> str:
    """Remember that a folder is trusted as it is now; return its SHA-256.

    Raises ``OSError`` where the file beside the folders holds something else: it is not written over.
    """
    sha256 = sha256_of_weights(place)
    _write(place.parent / TRUSTED, {**_read_whole(place.parent / TRUSTED), place.name: sha256})
    return sha256


def forget(place: Path) -> None:
    """Trust a folder no longer. Raises ``OSError`` as ``trust`` does."""
    kept = _read_whole(place.parent / TRUSTED)
    if kept.pop(place.name, None) is not None:
        _write(place.parent / TRUSTED, kept)


def _read(file: Path) -> dict[str, Any]:
    """Read which folders are trusted: none where the file is not there, or no such file."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _read_whole(file: Path) -> dict[str, Any]:
    if file.exists() and not _read(file) and file.read_text(encoding="utf-8").strip() != "{}":
        raise OSError(f"{file} is damaged; mend it, or delete it and trust each folder again")
    return _read(file)


def _write(file: Path, kept: dict[str, Any]) -> None:
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    draft.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.chmod(0o644)  # the workers' account reads it
    draft.replace(file)
