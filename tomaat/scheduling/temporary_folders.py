"""The temporary files of tasks: each worker has a folder for them, which goes with it, whatever was left there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import structlog

from tomaat.processes.proc import start_time
from tomaat.scheduling.worker_user import WorkerUser

log = structlog.get_logger()

NAME = re.compile(r"tomaat-worker-(\d+)-(\d+)-.*")  #: the TaskScheduling that made it, and when that started
COMPILED = "TORCHINDUCTOR_CACHE_DIR"
SHARED = Path("/tmp")  # noqa: S108 (only whoever has made a folder there may enter it)
REMOVE_SECONDS = 60.0


class TemporaryFolders:
    """Their path is short, since programs make sockets there, and a socket's path has at most 107 bytes."""

    def __init__(self, user: WorkerUser | None) -> None:
        """Make folders for workers that run as ``user``, or as the user of this process."""
        self.user = user
        self.top = Path(tempfile.gettempdir()) if user is None else SHARED
        self.made_by = f"tomaat-worker-{os.getpid()}-{start_time(os.getpid())}-"

    def make(self) -> Path | None:
        """Make one that only the worker, and root, may enter; ``None`` on a full disk, which keeps no worker away."""
        try:
            folder = Path(tempfile.mkdtemp(prefix=self.made_by, dir=self.top))
            if self.user is not None:
                os.chown(folder, self.user.uid, self.user.gid)
        except OSError as error:
            log.warning("temporary_folder.not_made", reason=str(error))
            return None
        return folder

    def environment(self, folder: Path) -> dict[str, str]:
        """Let programs find one. What torch compiles holds nothing of a ticket: it lies beside, and stays."""
        compiled = os.environ.get(COMPILED, str(self.top / f"torchinductor_{folder.stat().st_uid}"))
        return {"TMPDIR": str(folder), COMPILED: compiled}

    def remove(self, folder: Path | None) -> None:
        """Remove one, as the user whose files are in it; what cannot be removed stays."""
        if folder is None:
            return
        if self.user is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    self.user.command(["/bin/rm", "-rf", "--", str(folder)]),
                    cwd="/",
                    env={},
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    timeout=REMOVE_SECONDS,
                )

    def remove_left_over(self) -> None:
        """Remove those of each TaskScheduling that was killed."""
        uid = os.geteuid() if self.user is None else self.user.uid
        for folder in self.top.glob("tomaat-worker-*"):
            made_by = NAME.fullmatch(folder.name)
            with suppress(OSError):  # somebody else removed it just now
                if made_by is not None and folder.lstat().st_uid == uid:
                    pid, started = map(int, made_by.groups())
                    if start_time(pid) != started:
                        self.remove(folder)
