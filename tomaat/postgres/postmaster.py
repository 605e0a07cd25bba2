"""Find the process that holds a data folder of PostgreSQL, by /proc and not by a file that may be stale."""

from __future__ import annotations

from pathlib import Path

from tomaat.processes.proc import command_lines


def postmasters_of(data: Path) -> list[int]:
    """Return the pids of the servers that run on ``data``; zombies and other programs under an old pid are none."""
    return [
        pid
        for pid, arguments in command_lines().items()
        if Path(arguments[0]).name == "postgres" and str(data) in arguments
    ]


def lines_of_pid_file(data: Path) -> list[str]:
    """Return the last server's own notes: pid, data, start, port, socket, address, memory, status."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def is_stopping(data: Path) -> bool:
    """Tell whether the server on ``data`` says that it is shutting down."""
    return any(line.strip() == "stopping" for line in lines_of_pid_file(data)[7:])
