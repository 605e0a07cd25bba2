"""The folder of one request: a note to go on after an interruption, then its result."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomaat.client.errors import Unusable
from tomaat.client.result import Result

NOTE = "tomaat-ticket.json"  #: no output has this name: it is no Python name


class Place:
    """A folder with a note in it, ``tomaat-ticket.json``: which request it is for, and how to reach its ticket.

    The note is written before the request is sent, with the ``Idempotency-Key`` that it is sent with, so that a request
    whose answer was lost can be sent again and gives the same ticket. While there is a token in it, it is for its owner
    only; once the result is fetched, the token is taken out.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self) -> dict[str, Any] | None:
        """Read the note, if there is one."""
        path = self.folder / NOTE
        try:
            note = json.loads(path.read_bytes())
            if {"url", "service", "inputs", "idempotency_key", "id", "token", "fetched"} <= note.keys():
                return dict(note)
        except FileNotFoundError:
            return None
        except (ValueError, AttributeError):
            pass
        raise Unusable(f"{path} is none of this program's; remove it, or choose another folder.")

    def begin(self, url: str, service: str, digests: Mapping[str, str], label: str = "") -> dict[str, Any]:
        """Note a request that is about to be sent."""
        note = {"url": url, "service": service, "inputs": dict(digests), "id": None, "token": None, "fetched": False}
        return self.keep({**note, "label": label, "idempotency_key": secrets.token_hex(16)})

    def keep(self, note: dict[str, Any]) -> dict[str, Any]:
        """Write the note, whole or not at all, for nobody else to read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{NOTE}"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(note, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.folder / NOTE)
        return note

    def forget(self) -> None:
        """Remove the note, and the folder if nothing else is in it."""
        (self.folder / NOTE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def result(self) -> Result | None:
        """Return the result, if it was fetched and is whole."""
        try:
            return Result(self.folder)
        except (KeyError, ValueError):
            return None

    def demand_empty(self) -> None:
        """Raise ``Unusable`` where files lie that a result might overwrite."""
        if self.folder.exists() and any(not path.name.startswith(".") for path in self.folder.iterdir()):
            raise Unusable(f"{self.folder} holds other files; choose another folder by -o.")


def places_below(folder: Path) -> list[Place]:
    """Find all requests in a folder and below it."""
    return [Place(note.parent) for note in sorted(folder.rglob(NOTE))]
