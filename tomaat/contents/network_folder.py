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
    """Tell a trained network's folder from a package of helpers, or from any other folder; a hidden one is none."""
    return not path.name.startswith((".", "_")) and any((path / marker).is_file() for marker in MARKERS)


def state_of(place: Path) -> str:
    """Tell in a text by which a change shows: the files with their sizes and times, and whether it is trusted."""
    lines = [f"trusted {trusted_sha256(place)}"]
    for name in names_in(place):
        facts = (place / name).stat()
        lines.append(f"{facts.st_size} {facts.st_mtime_ns} {name}")
    return "\n".join(lines) + "\n"


def trusted_sha256(place: Path) -> str | None:
    """Tell which SHA-256 a folder had when it was trusted; ``None`` if it never was."""
    trusted = _read(place.parent / TRUSTED).get(place.name)
    return trusted if isinstance(trusted, str) else None


def trust(place: Path) -> str:
    """Remember that a folder is trusted as it is now; return its SHA-256."""
    sha256 = sha256_of_weights(place)
    _write(place.parent / TRUSTED, {**_read(place.parent / TRUSTED), place.name: sha256})
    return sha256


def forget(place: Path) -> None:
    """Trust a folder no longer."""
    kept = _read(place.parent / TRUSTED)
    if kept.pop(place.name, None) is not None:
        _write(place.parent / TRUSTED, kept)


def _read(file: Path) -> dict[str, Any]:
    """Read who is trusted; a file that is not there, or no such file, trusts nobody."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write(file: Path, kept: dict[str, Any]) -> None:
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    draft.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(file)
