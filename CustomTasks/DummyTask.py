"""Pass the time, for trying queues, progress, cancelling and failures."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from Inputs import FloatInput, SingleChoiceInput
from tomaat.services import Outputs, Task, TaskRefused

STEP_SECONDS = 0.05


class DummyTask(Task):
    """Sleeps or computes for a while and reports progress; may also refuse or crash at the end."""

    task_identifier = "Dummy"
    description = "Passes the time: sleeps, computes, refuses or crashes after some seconds. For trying queues."
    trial = True
    inputs = (
        SingleChoiceInput("kind", "What to do", choices=["sleep", "compute", "refuse", "crash"], default="sleep"),
        FloatInput("seconds", "How long", minimum=0.0, maximum=3600.0, default=1.0, unit="s"),
    )
    example = {"kind": "sleep", "seconds": 10.0}  # noqa: RUF012 (read only)

    def load(self, device: torch.device) -> None:
        """Put a matrix on the device, to have something to compute with."""
        self.matrix = torch.eye(256, device=device)

    def expected_seconds(self, inputs: Mapping[str, Any]) -> float:
        """Take as long as it is asked to."""
        return float(inputs["seconds"])

    def perform(self, kind: str, seconds: float) -> Outputs:
        """Pass ``seconds``, then do what ``kind`` says."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            self.progress(passed / seconds, "first half" if passed < seconds / 2 else "second half")
            if kind == "compute":
                self.matrix = self.matrix @ self.matrix
            else:
                time.sleep(min(STEP_SECONDS, seconds - passed))
        if kind == "refuse":
            raise TaskRefused("Dummy was asked to refuse.")
        if kind == "crash":
            raise RuntimeError("Dummy was asked to crash")
        return {"slept_seconds": time.monotonic() - began}
