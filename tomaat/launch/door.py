"""Run one door as a process that ends with its launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.open_door import MISCONFIGURED
from tomaat.postgres.account import STAY
from tomaat.processes.dying import command_that_dies_with


class Door:
    """A Python program that runs until SIGTERM, started by the main thread; its log goes to ``log_file``, if given."""

    def __init__(
        self, program: Path, environment: Mapping[str, str], *, grace_seconds: float, log_file: Path | None = None
    ) -> None:
        self.name = program.stem
        self.program = program
        self.environment = environment
        self.grace_seconds = grace_seconds
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program, out of reach of the terminal's Ctrl-C: doors are stopped in order."""
        command = [sys.executable, str(self.program)]
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self.log_file.open("ab")) if self.log_file else None
            self.process = subprocess.Popen(
                command_that_dies_with(os.getpid(), signal.SIGTERM, STAY, STAY, command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def alive(self) -> bool:
        """Tell whether it runs; raises ``CannotStart`` where it said that it never will as it is set up."""
        if self.process is not None and self.process.poll() == MISCONFIGURED:
            raise CannotStart(f"{self.name} cannot run as it is set up: {self._last_words()}")
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ask it to end, and end it when it has not within its grace time."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _last_words(self) -> str:
        if self.log_file is None:
            return "its last lines above say why."
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"the end of {self.log_file} says why:", *lines[-3:]])
