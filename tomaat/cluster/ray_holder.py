"""The Ray actor of a node: it starts the node's program, which ends with it. It imports nothing of Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomaat

CODE = Path(tomaat.__file__).resolve().parents[1]


class RayHolder:
    """Runs in the node's own Python. Its methods run in the actor's main thread, with which the program would end."""

    def __init__(self) -> None:
        self.program: subprocess.Popen[bytes] | None = None

    def begin(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Start the node's program; return its port, or why it ``failed``."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "CUDA_"))}
        self.program = subprocess.Popen(
            [sys.executable, "-m", "tomaat.cluster", "--parent", str(os.getpid())],
            cwd=CODE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        if self.program.stdin is None or self.program.stdout is None:
            return {"failed": "it has no pipes"}
        self.program.stdin.write(json.dumps(dict(told)).encode() + b"\n")
        self.program.stdin.flush()
        line = self.program.stdout.readline()
        return dict(json.loads(line)) if line else {"failed": "the node's program ended at once: see Ray's log there"}

    def wait(self) -> dict[str, Any]:
        """Wait until the node's program has ended."""
        if self.program is None:
            return {"failed": "it was not started"}
        return {"failed": f"the node's program exited with status {self.program.wait()}"}
