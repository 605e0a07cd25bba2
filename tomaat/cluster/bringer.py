"""Brings the files of tickets, and of the folder of tasks, to one worker's node."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import structlog

from tomaat.cluster.pieces import NotTaken, UnwantedFile, hear_answer, send_file
from tomaat.cluster.stream import Stream, StreamClosed
from tomaat.contents.digest import names_in, sha256_of
from tomaat.contents.network_folder import TRUSTED

log = structlog.get_logger()


class TaskFiles:
    """Lists the folder of tasks with all that lies in it; a file is hashed again only once it has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hashed: dict[tuple[str, int, int, int], str] = {}

    def told(self) -> list[dict[str, Any]]:
        """List all files, hidden ones and byte code aside, as they are now; one that cannot be read is left out."""
        found = []
        for name in filter(_travels, names_in(self.folder)):
            try:
                found.append(self._told(name))
            except OSError as error:
                note_left_out(name, error.strerror)
        return found

    def _told(self, name: str) -> dict[str, Any]:
        status = (self.folder / name).stat()
        known = (name, status.st_ino, status.st_size, status.st_mtime_ns)
        if known not in self.hashed:
            self.hashed[known] = sha256_of(self.folder / name)[0]
        runs = bool(status.st_mode & 0o111)
        return {"name": name, "mtime_ns": status.st_mtime_ns, "sha256": self.hashed[known], "runs": runs}


class Bringer:
    """Used by one thread at a time."""

    def __init__(self, stream: Stream, tasks: TaskFiles, turns: Executor) -> None:
        """Bring the folder of tasks in one of the node's ``turns``."""
        self.stream = stream
        self.tasks = tasks
        self.turns = turns
        self.there: set[str] = set()  #: the tickets whose inputs are there
        self.copies = 0

    def bring_tasks(self, kept: Path) -> str:
        """Bring the folder of tasks as it is now, and the kept copy of its code; return that one's name there.

        A file of tasks that cannot be read, or changes on its way, is left out until the next time. Raises ``OSError``;
        the node then has what it had.
        """
        try:
            turn = self.turns.submit(self._bring_tasks, kept)
        except RuntimeError as error:
            raise StreamClosed("its node is away") from error
        return turn.result()

    def _bring_tasks(self, kept: Path) -> str:
        told = self.tasks.told()
        self.stream.say(tasks=told)
        for place in hear_answer(self.stream)["lacks"]:
            self._bring_task_file(told[place]["name"], told[place]["sha256"])
        hear_answer(self.stream)
        self.copies += 1
        name = f"kept-{self.copies}"
        self._bring_folder(kept, name, wanted=lambda: True)
        return name

    def _bring_task_file(self, name: str, sha256: str) -> None:
        try:
            sent = send_file(self.stream, Path(os.path.realpath(self.tasks.folder / name)))
        except StreamClosed:
            raise
        except OSError as error:
            note_left_out(name, error.strerror)
        else:
            if sent != sha256:
                note_left_out(name, "it changed on its way")

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


def note_left_out(name: str, reason: str | None) -> None:
    """Say that a node does without a file of tasks."""
    log.error("tasks.file_left_out", file=name, reason=reason, then="it travels at the next reload, or worker's start")


def _travels(name: str) -> bool:
    parts = name.split("/")
    return name == TRUSTED or not any(part.startswith(".") or part == "__pycache__" for part in parts)
