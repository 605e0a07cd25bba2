"""A ticket's volumes as its service reads them: made when somebody asks first, by a program of its own."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog

from tomaat.processes.dying import STAY, command_that_dies_with
from tomaat.processes.log import frames_of
from tomaat.storage import TicketFolder
from tomaat.storage.disk import LEAST_ROOM_BYTES, bytes_below
from tomaat.storage.files import flush
from tomaat.web.http.problems import Problem, retry_later, storage_full

log = structlog.get_logger()

CODE = Path(__file__).resolve().parents[3]
EXTENSION = ".nii.gz"
SENT = re.compile(r"file-([^.]+)(\..*)?", re.DOTALL)
LONGEST_SECONDS = 900.0  #: for one volume; the reader itself has limits for each
MOST_WAITING = 20  #: volumes; more are asked to come again
MOST_REMEMBERED = 1000  #: problems; then it begins anew
AGAIN_SECONDS = 60.0  #: after which a volume is tried again whose reading failed, and not for its own fault
REFUSED_SECONDS = 3600.0  #: for which a refusal counts: it may have been the machine that was busy or out of memory
UNREAD = "The server could not read the volume again; its log has the reason."
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}


@dataclass(kw_only=True, eq=False)
class Making:
    """A volume that is being made, and why it cannot be, once that is known."""

    folder: TicketFolder
    id: str
    problem: Problem | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def path(self) -> Path:
        """Where it will lie."""
        return self.folder.read / f"{self.id}{EXTENSION}"


class InputsAsRead:
    """Makes one volume at a time, in a thread of its own, whose programs end with it."""

    def __init__(self, *, largest_voxel_bytes: int) -> None:
        self.largest_voxel_bytes = largest_voxel_bytes
        self.under_way: dict[tuple[str, str], Making] = {}
        self.problems: dict[tuple[str, str], tuple[Problem, float]] = {}  #: with the moment until which each counts
        self.to_make: SimpleQueue[Making] = SimpleQueue()
        threading.Thread(target=self._run, name="inputs-as-read", daemon=True).start()

    @staticmethod
    def names(folder: TicketFolder) -> list[str]:
        """Name the volumes that were sent, as they are fetched. Raises ``FileNotFoundError`` where they are gone."""
        found = [SENT.fullmatch(path.name) for path in sorted(folder.inputs.iterdir())]
        return [match[1] + EXTENSION for match in found if match]

    def ask(self, folder: TicketFolder, name: str) -> Making | None:
        """Have a volume of ``names`` made, once for all who ask; ``None`` where it is there.

        Raises the ``Problem`` of one that cannot be read, and of too many at once.
        """
        making = Making(folder=folder, id=name.removesuffix(EXTENSION))
        if making.path.exists():
            return None
        key = (folder.name, making.id)
        problem, until = self.problems.get(key, (None, 0.0))
        if problem is not None and time.monotonic() < until:
            raise replace(problem)  # an error that is raised twice keeps the frames of both
        if len(self.under_way) >= MOST_WAITING and key not in self.under_way:
            raise retry_later(503, "busy", "Busy", f"{MOST_WAITING} volumes are being read already; try again.", 5)
        known = self.under_way.setdefault(key, making)
        if known is making:
            self.to_make.put(making)
        return known

    def _run(self) -> None:
        while True:
            making = self.to_make.get()
            key = (making.folder.name, making.id)
            try:
                making.problem = self._make(making)
            except OSError as error:
                if making.folder.inputs.exists():  # else its ticket's files were deleted, and whoever asks finds none
                    log.warning("input.not_read", error=type(error).__name__)
                    detail = "The volume cannot be stored now."
                    making.problem = retry_later(503, "unavailable", "Unavailable", detail, 5)
            except Exception as error:  # noqa: BLE001 (whatever it is, others wait for this thread)
                log.error("input.not_read", error=type(error).__name__, frames=frames_of(error))
                making.problem = Problem(500, "internal-error", "Internal error", UNREAD)
            if making.problem is not None:
                if len(self.problems) >= MOST_REMEMBERED:
                    self.problems = {}
                is_refusal = making.problem.slug == "input-unreadable"
                counts_seconds = REFUSED_SECONDS if is_refusal else AGAIN_SECONDS
                self.problems[key] = making.problem, time.monotonic() + counts_seconds
            del self.under_way[key]
            making.done.set()

    def _make(self, making: Making) -> Problem | None:
        """Let the program write the volume, and give it its name once it is whole; say why it could not."""
        if making.path.exists():
            return None
        making.folder.read.mkdir(mode=0o700, exist_ok=True)
        remove_left_over(making.folder.read)
        if shutil.disk_usage(making.folder.read).free < LEAST_ROOM_BYTES + bytes_below(making.folder.inputs):
            return storage_full()
        draft = making.folder.read / f".{secrets.token_hex(8)}{EXTENSION}"
        try:
            told = self._run_program(making, draft)
            if not making.folder.inputs.exists():
                raise FileNotFoundError(making.folder.name)  # that it was not read is no fault
            if not told:
                flush(draft)  # or a power cut could leave its name with less of it, for as long as its ticket is kept
                with suppress(FileExistsError):  # another WebService was first: its file is being fetched
                    os.link(draft, making.path)
                return None
        finally:
            draft.unlink(missing_ok=True)
        if "full" in told:
            return storage_full()
        if "refused" in told:
            return Problem(409, "input-unreadable", "Unreadable input", str(told["refused"]))
        log.error("input.not_read", error=told.get("crashed"), frames=told.get("frames"))
        return Problem(500, "internal-error", "Internal error", UNREAD)

    def _run_program(self, making: Making, draft: Path) -> dict[str, Any]:
        limits = [str(self.largest_voxel_bytes), str(LEAST_ROOM_BYTES)]
        words = [str(making.folder.inputs), making.id, str(draft), *limits]
        program = [sys.executable, "-m", "tomaat.services.as_read", *words]
        command = command_that_dies_with(os.getpid(), signal.SIGKILL, STAY, STAY, program)
        try:
            ended = subprocess.run(
                command,
                cwd=CODE,
                env={**ENVIRONMENT, "TMPDIR": tempfile.gettempdir()},  # this door may write nowhere else
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                timeout=LONGEST_SECONDS,
                check=True,
            )
            told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
        except (subprocess.SubprocessError, IndexError, ValueError) as error:
            return {"crashed": type(error).__name__}
        if missing := told.pop("only_limits", None):
            log.warning("volumes.only_limits", missing=missing)
        return told


def remove_left_over(read: Path) -> None:
    """Remove drafts that no program can be writing any more: their door was killed."""
    oldest = time.time() - LONGEST_SECONDS
    for draft in read.glob(f".*{EXTENSION}"):
        with suppress(FileNotFoundError):  # another process of WebService removes them, too
            if draft.stat().st_mtime < oldest:
                draft.unlink()
