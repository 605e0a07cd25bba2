"""Finds nodes by Ray: whoever wants Slurm alone, or Nomad, writes the like of this file.

Ray itself runs in a program of its own (``ray_program.py``). It installs handlers of signals, has threads that fork
may not meet, and ends its whole process when its cluster's head is lost. TaskScheduling outlives that.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from tomaat.cluster.remote_engine import NodePlace
from tomaat.processes.misconfigured import Misconfigured

log = structlog.get_logger()

RETRY_SECONDS = 5.0  #: between two attempts to join a cluster that is away
END_SECONDS = 10.0


class RayNodes:
    """Runs the program that has joined the cluster, again when it has ended. Used by the main thread.

    It ends with this process, and with it, as Ray promises, all that it has started on the nodes.
    """

    def __init__(
        self,
        address: str,
        secret: bytes,
        *,
        top: Path,
        port: int,
        log_format: str,
        log_level: str,
        join: Callable[[NodePlace], None],
    ) -> None:
        """Let nodes keep their files below ``top`` and serve on ``port``; ``join`` hears of each that does."""
        if importlib.util.find_spec("ray") is None:
            raise Misconfigured("TOMAAT_RAY_ADDRESS: Ray is not installed here: pip install -r requirements-ray.txt")
        if os.environ.get("RAY_AUTH_MODE", "token") != "token":
            raise Misconfigured("TOMAAT_RAY_ADDRESS: set RAY_AUTH_MODE=token: whoever reaches Ray may run anything")
        self.told = {
            "address": address,
            "secret": secret.hex(),
            "top": str(top),
            "port": port,
            "log_format": log_format,
            "log_level": log_level,
        }
        self.join = join
        self.program: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0

    def tend(self) -> None:
        """Start the program where it does not run. Raises ``OSError``."""
        if self.program is not None and self.program.poll() is not None:
            log.error("ray.left", status=self.program.returncode, then="the cluster is joined again")
            self._forget(self.program)
        if self.program is None and time.monotonic() >= self.started_at + RETRY_SECONDS:
            self.started_at = time.monotonic()
            self.program = subprocess.Popen(
                [sys.executable, "-m", "tomaat.cluster.ray_program", "--parent", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "RAY_AUTH_MODE": "token"},
                start_new_session=True,  # Ctrl-C ends TaskScheduling, which ends this one last
            )
            threading.Thread(target=self._listen, args=(self.program,), name="ray", daemon=True).start()

    def _listen(self, program: subprocess.Popen[bytes]) -> None:
        if program.stdin is None or program.stdout is None:
            return
        program.stdin.write(json.dumps(self.told).encode() + b"\n")
        program.stdin.flush()
        for line in program.stdout:
            told = json.loads(line)
            self.join(NodePlace(name=told["node"], host=told["host"], port=told["port"]))

    def _forget(self, program: subprocess.Popen[bytes]) -> None:
        for pipe in (program.stdin, program.stdout):
            if pipe is not None:
                pipe.close()
        self.program = None

    def close(self) -> None:
        """End the program, and with it what it has started on the nodes."""
        if self.program is None:
            return
        program = self.program
        if program.stdin is not None:
            program.stdin.close()
        try:
            program.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        self._forget(program)
