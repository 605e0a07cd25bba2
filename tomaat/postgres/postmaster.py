"""Find the process that holds a data folder of PostgreSQL, by /proc and not by a file that may be stale."""

from __future__ import annotations

import contextlib
from pathlib import Path

PROC = Path("/proc")


def postmasters_of(data: Path) -> list[int]:
    """Return the pids of the servers that run on ``data``; zombies and other programs under an old pid are none."""
    return [
        int(folder.name) for folder in PROC.iterdir() if folder.name.isdecimal() and _is_postmaster(folder, str(data))
    ]


def _is_postmaster(folder: Path, data: str) -> bool:
    with contextlib.suppress(OSError):
        arguments = (folder / "cmdline").read_text(errors="replace").split("\0")  # a zombie's is empty
        return Path(arguments[0]).name == "postgres" and data in arguments
    return False


def lines_of_pid_file(data: Path) -> list[str]:
    """Return the last server's own notes: pid, data, start, port, socket, address, memory, status."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def is_stopping(data: Path) -> bool:
    """Tell whether the server on ``data`` says that it is shutting down."""
    return any(line.strip() == "stopping" for line in lines_of_pid_file(data)[7:])
