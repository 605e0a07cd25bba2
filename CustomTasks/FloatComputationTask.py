"""Add or multiply two numbers."""

import math

from Inputs import FloatInput, SingleChoiceInput
from tomaat.services import Outputs, Task, TaskRefused


class FloatComputationTask(Task):
    """Adds or multiplies two numbers: the smallest task there is."""

    task_identifier = "FloatComputation"
    description = "Adds or multiplies two numbers."
    trial = True
    inputs = (
        FloatInput("f1", "First number"),
        FloatInput("f2", "Second number"),
        SingleChoiceInput("op", "Operation", choices=["add", "multiply"], default="add"),
    )
    example = {"f1": 2.5, "f2": 4.0}  # noqa: RUF012 (read only)

    def perform(self, f1: float, f2: float, op: str) -> Outputs:
        """Return the sum or the product; refuse one that is no finite number any more."""
        result = f1 + f2 if op == "add" else f1 * f2
        if not math.isfinite(result):
            raise TaskRefused(f"The result of {op} is beyond the largest number, 1.8e308.", code="overflow")
        return {"result": result}
