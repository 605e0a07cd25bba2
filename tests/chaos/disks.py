"""A small file system of memory that a trial can fill, where this user may mount one."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

BALLAST = "ballast"
CHUNK_BYTES = 64 * 1024


@contextlib.contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """Mount a tmpfs that all users may enter; raises ``PermissionError`` where this user may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="tomaat-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0755", "tmpfs", str(folder)]
    try:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise PermissionError("no tmpfs can be mounted here: there is no program mount") from error
        if done.returncode:
            raise PermissionError(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    finally:
        folder.rmdir()


def fill(folder: Path) -> None:
    """Leave not one byte."""
    with contextlib.suppress(OSError), (folder / BALLAST).open("ab", buffering=0) as ballast:
        while True:
            ballast.write(bytes(CHUNK_BYTES))
    with contextlib.suppress(OSError), (folder / BALLAST).open("ab", buffering=0) as ballast:
        while True:
            ballast.write(b"x")


def make_room(folder: Path) -> None:
    """Take the ballast away."""
    (folder / BALLAST).unlink(missing_ok=True)
