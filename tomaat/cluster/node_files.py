"""The files of a node: of running tickets, as long as they run, and of the folder of tasks.

::

    <top>/files/<sha256>-<time>                   a file of the folder of tasks; it stays, so that it travels once
    <top>/<host>-<pid>-<start>/tasks/             the folder of tasks, as it was when a worker was started last
    <top>/<host>-<pid>-<start>/workers/<random>/  all of one worker: copies of the tasks' code, and
        <ticket's folder>/in/  out/<claim>/

Only this user may enter ``top``, which is on a disk of the node's own. What belongs to a program that was killed is
removed by a sweeper, which outlives it; and at the next start on the same host, where that was killed too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from tomaat.cluster.pieces import inside
from tomaat.processes.misconfigured import Misconfigured
from tomaat.processes.proc import start_time

HOST = socket.gethostname()
OF_PROGRAM = re.compile(rf"{re.escape(HOST)}-(\d+)-(\d+)")  #: of this machine: another one's processes are not seen
OF_FILE = re.compile(r"[0-9a-f]{64}-\d+(-runs)?")
UNUSED_SECONDS = 30 * 24 * 3600.0  #: after which a file of tasks that no folder holds any longer goes
PART = ".part"  #: of a file or folder that has not arrived whole


class NodeFiles:
    """Used by the threads of all connections; the folder of tasks is changed by one thread of its own."""

    def __init__(self, top: Path) -> None:
        """Make the folders. Raises ``Misconfigured`` where others may enter ``top``."""
        try:
            top.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = top.lstat()
        except OSError as error:
            raise Misconfigured(f"TOMAAT_RAY_NODE_DIR: {top} cannot be made: {error.strerror}") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise Misconfigured(f"TOMAAT_RAY_NODE_DIR: {top} has to be a folder that only its owner may enter")
        self.files = top / "files"
        self.own = top / f"{HOST}-{os.getpid()}-{start_time(os.getpid())}"
        self.tasks = self.own / "tasks"
        self.workers = self.own / "workers"
        self.held: set[str] = set()  #: the names of the workers that are there
        self._remove_left_over(top)
        for folder in (self.files, self.own, self.tasks, self.workers):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.changing = ThreadPoolExecutor(1, thread_name_prefix="tasks")
        self.sweeper: subprocess.Popen[bytes] | None = None

    def sweep(self) -> int:
        """Start a sweeper, which removes all of this program once it has ended, however that is; return its id."""
        self.sweeper = subprocess.Popen(
            ["/bin/sh", "-c", 'cat > /dev/null; rm -rf -- "$1"; sleep 1; rm -rf -- "$1"', "sweeper", str(self.own)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self.sweeper.pid

    def _remove_left_over(self, top: Path) -> None:
        for folder in top.iterdir():
            program = OF_PROGRAM.fullmatch(folder.name)
            if program is not None and str(start_time(int(program[1]))) != program[2]:
                shutil.rmtree(folder, ignore_errors=True)
        long_ago = time.time() - UNUSED_SECONDS
        for file in self.files.glob("*"):
            with suppress(OSError):  # another program of this node removed it just now
                status = file.lstat()
                if status.st_nlink == 1 and status.st_ctime < long_ago:
                    file.unlink()

    def make_worker(self) -> Path:
        """Make the folder of a worker."""
        folder = self.workers / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        self.held.add(folder.name)
        return folder

    def end_worker(self, worker: Path) -> None:
        """Remove all of a worker that has ended."""
        self.held.discard(worker.name)
        self.end_taking(worker)

    def end_taking(self, worker: Path) -> None:
        """Remove all of a worker for which nothing comes any longer, unless it is there: whoever is last removes it."""
        if worker.name not in self.held:
            shutil.rmtree(worker, ignore_errors=True)

    @staticmethod
    def make_out(worker: Path, name: str) -> None:
        """Make the empty folder for the result of a claim."""
        out = inside(worker, name)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(mode=0o700, parents=True)

    @staticmethod
    def drop(worker: Path, name: str) -> None:
        """Remove a ticket's folder, or another one of a worker."""
        shutil.rmtree(inside(worker, name), ignore_errors=True)

    def lacking(self, told: Sequence[Mapping[str, Any]]) -> list[int]:
        """Tell which files of the folder of tasks have never arrived here, by their places in the list."""
        found: dict[str, int] = {}
        for place, each in enumerate(told):
            name = _name_of(each)
            if not (self.files / name).exists():
                found.setdefault(name, place)
        return sorted(found.values())

    def draft(self) -> Path:
        """Name a file that arrives, in what is swept."""
        return self.own / f"{secrets.token_hex(8)}{PART}"

    def keep(self, draft: Path, told: Mapping[str, Any]) -> None:
        """Keep a file that has arrived whole; a task, which has a link to it, cannot write there."""
        draft.chmod(0o500 if told.get("runs") else 0o400)
        os.utime(draft, ns=(told["mtime_ns"], told["mtime_ns"]))
        draft.rename(self.files / _name_of(told))

    def set_tasks(self, told: Sequence[Mapping[str, Any]]) -> None:
        """Let the folder of tasks hold those of these files that have arrived, and no others. Raises ``OSError``."""
        self.changing.submit(self._set_tasks, told).result()

    def _set_tasks(self, told: Sequence[Mapping[str, Any]]) -> None:
        wanted = {inside(self.tasks, each["name"]): self.files / _name_of(each) for each in told}
        wanted = {place: file for place, file in wanted.items() if file.exists()}
        for place, file in wanted.items():
            if not place.exists() or not place.samefile(file):
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                draft = place.with_name(f".{secrets.token_hex(4)}{PART}")
                os.link(file, draft)
                draft.replace(place)
        self._remove_others(wanted.keys())

    def _remove_others(self, wanted: Collection[Path]) -> None:
        for folder, folders, names in os.walk(self.tasks, topdown=False):
            for name in names:
                if Path(folder, name) not in wanted and "__pycache__" not in folder:
                    Path(folder, name).unlink()
            for name in folders:
                with suppress(OSError):  # it holds something
                    Path(folder, name).rmdir()

    def close(self) -> None:
        """Remove all that belongs to this program."""
        self.changing.shutdown()
        shutil.rmtree(self.own, ignore_errors=True)


def _name_of(told: Mapping[str, Any]) -> str:
    name = f"{told.get('sha256')}-{told.get('mtime_ns')}{'-runs' if told.get('runs') else ''}"
    if not OF_FILE.fullmatch(name):
        raise OSError(errno.EINVAL, "no file of tasks")
    return name
