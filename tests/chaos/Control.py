"""How a test holds a process at a named moment, applies a fault, and lets it go on."""

from __future__ import annotations

import os
import time
from pathlib import Path

LONGEST_HOLD_SECONDS = 30.0
GLANCE_SECONDS = 0.005


class Control:
    """A folder that the test and the processes under test share; one file per moment, renamed as it goes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def reach(self, moment: str) -> None:
        """Called in the process under test: wait here if this moment is armed; the first to come takes it."""
        try:
            (self.folder / f"{moment}.armed").rename(self.folder / f"{moment}.reached")
        except FileNotFoundError:
            return
        give_up = time.monotonic() + LONGEST_HOLD_SECONDS
        while (self.folder / f"{moment}.reached").exists() and time.monotonic() < give_up:
            time.sleep(GLANCE_SECONDS)

    def is_armed(self, moment: str) -> bool:
        """Tell whether the next process that comes by will wait."""
        return (self.folder / f"{moment}.armed").exists()

    def arm(self, moment: str) -> None:
        """Let the next process that comes by wait."""
        (self.folder / f"{moment}.armed").touch()

    def wait_reached(self, moment: str, seconds: float) -> None:
        """Wait until a process waits at the moment."""
        give_up = time.monotonic() + seconds
        while not (self.folder / f"{moment}.reached").exists():
            if time.monotonic() > give_up:
                raise AssertionError(f"nobody came by {moment!r} within {seconds:g} s")
            time.sleep(GLANCE_SECONDS)

    def release(self, moment: str) -> None:
        """Let it go on."""
        for state in ("armed", "reached"):
            (self.folder / f"{moment}.{state}").unlink(missing_ok=True)

    def note(self, journal: str, line: str) -> None:
        """Append one line to a journal, whole, also when the process is killed right after."""
        descriptor = os.open(self.folder / journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)
