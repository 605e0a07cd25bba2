"""Ask a program of its own: its imports, and a crash of it, do not touch the doctor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from TOMAATSettings import HOME

SECONDS = 180.0
DEATH_SECONDS = 5.0


class NoAnswer(Exception):
    """The program ended without an answer; the sentence says how."""


def ask(module: str, *arguments: str, environment: Mapping[str, str], seconds: float = SECONDS) -> Any:
    """Run a module of ours that writes JSON into a file in memory, and return that. Raises ``NoAnswer``."""
    with os.fdopen(os.memfd_create("answer"), "r+b") as answer:
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--to", str(answer.fileno()), *arguments],
            cwd=HOME,
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=[answer.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # within a driver that hangs it does not die
                process.wait(DEATH_SECONDS)
            raise NoAnswer(f"did not end within {seconds:g} s") from None
        if status < 0:
            raise NoAnswer(f"was ended by signal {-status} ({signal.Signals(-status).name})")
        answer.seek(0)
        try:
            return json.load(answer)
        except ValueError:
            raise NoAnswer(f"ended with status {status}, without an answer") from None
