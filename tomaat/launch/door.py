"""Run one door as a process that ends with its launcher."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.open_door import MISCONFIGURED
from tomaat.processes.dying import STAY, command_that_dies_with


class Door:
    """A Python program that runs until SIGTERM, started by the main thread; its log goes to ``log_file``, if given.

    It gets the ``words`` of its command line, and the open ``descriptors``. When the launcher ends, it ``dies_by`` that
    signal.
    """

    def __init__(
        self,
        program: Path,
        environment: Mapping[str, str],
        *,
        grace_seconds: float,
        log_file: Path | None = None,
        words: Sequence[str] = (),
        descriptors: Sequence[int] = (),
        dies_by: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = " ".join([program.stem, *words[:2]])
        self.command = [sys.executable, str(program), *words]
        self.descriptors = descriptors
        self.dies_by = dies_by
        self.environment = environment
        self.grace_seconds = grace_seconds
        self.log_file = log_file
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program, out of reach of the terminal's Ctrl-C: doors are stopped in order."""
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(self.log_file.open("ab")) if self.log_file else None
            self.process = subprocess.Popen(
                command_that_dies_with(os.getpid(), self.dies_by, STAY, STAY, self.command),
                env=dict(self.environment),
                pass_fds=self.descriptors,
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

    def ask_to_end(self) -> None:
        """Ask it to end, and do not wait for that."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> None:
        """Ask it to end, and end it when it has not within its grace time."""
        self.ask_to_end()
        if self.process is None:
            return
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
