"""Brings the files of tickets, and of the folder of tasks, to one worker's node."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tomaat.cluster.pieces import NotTaken, UnwantedFile, hear_answer, send_file
from tomaat.cluster.stream import Stream, StreamClosed
from tomaat.contents.digest import names_in, sha256_of
from tomaat.contents.network_folder import TRUSTED


class TaskFiles:
    """Lists the folder of tasks with all that lies in it; a file is hashed again only once it has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashed: dict[tuple[str, int, int, int], str] = {}

    def told(self) -> list[dict[str, Any]]:
        """List all files, hidden ones and byte code aside, as they are now. Raises ``OSError``."""
        return [self._told(name) for name in names_in(self.folder) if _travels(name)]

    def _told(self, name: str) -> dict[str, Any]:
        status = (self.folder / name).stat()
        known = (name, status.st_ino, status.st_size, status.st_mtime_ns)
        if known not in self.hashed:
            self.hashed[known] = sha256_of(self.folder / name)[0]
        return {"name": name, "mtime_ns": status.st_mtime_ns, "sha256": self.hashed[known]}


class Bringer:
    """Used by one thread at a time."""

    def __init__(self, stream: Stream, tasks: TaskFiles) -> None:
        self.stream = stream
        self.tasks = tasks
        self.there: set[str] = set()  #: the tickets whose inputs are there
        self.copies = 0

    def bring_tasks(self, kept: Path) -> str:
        """Bring the folder of tasks as it is now, and the kept copy of its code; return that one's name there.

        Raises ``OSError``; the node then has what it had.
        """
        told = self.tasks.told()
        self.stream.say(tasks=told)
        for place in hear_answer(self.stream)["lacks"]:
            send_file(self.stream, Path(os.path.realpath(self.tasks.folder / told[place]["name"])))
        hear_answer(self.stream)
        self.copies += 1
        name = f"kept-{self.copies}"
        self._bring_folder(kept, name, wanted=lambda: True)
        return name

    def bring_inputs(self, inputs: Path, *, wanted: Callable[[], bool], out: str | None = None) -> None:
        """Bring a ticket's inputs, unless they are there, and make the folder ``out`` for a claim's result.

        Raises ``UnwantedFile`` once they are not ``wanted``, ``OSError``. Nothing of the inputs is left there then.
        """
        ticket = inputs.parent.name
        if ticket not in self.there:
            self._bring_folder(inputs, f"{ticket}/in", wanted=wanted, out=out)
            self.there.add(ticket)
        elif out is not None:
            self.stream.say(out=out)
            hear_answer(self.stream)

    def drop(self, ticket: str) -> None:
        """Remove all of a ticket there."""
        self.there.discard(ticket)
        self.stream.say(drop=ticket)
        hear_answer(self.stream)

    def _bring_folder(self, folder: Path, name: str, *, wanted: Callable[[], bool], out: str | None = None) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(2, "its folder is gone")
        files = names_in(folder)
        self.stream.say(put=name, files=files)
        fault: UnwantedFile | OSError | None = None
        for each in files:
            try:
                send_file(self.stream, folder / each, wanted=wanted)
            except StreamClosed:
                raise
            except (UnwantedFile, OSError) as error:
                fault = error
        asked = [name]
        if out is not None:  # before the first answer comes: a small ticket waits for one way there and back
            self.stream.say(out=out)
            asked.append(out)
        for _ in asked:
            try:
                hear_answer(self.stream)
            except NotTaken as error:
                fault = fault or error
        if fault is not None:
            raise fault


def _travels(name: str) -> bool:
    parts = name.split("/")
    return name == TRUSTED or not any(part.startswith(".") or part == "__pycache__" for part in parts)
