"""What somebody writes to offer a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tomaat.refusals import Refusal

if TYPE_CHECKING:
    import numpy as np
    import torch

    from Inputs import Input
    from tomaat.volumes import Volume

    Output = Volume | str | int | float | bool | None | dict[str, Any] | list[Any] | np.ndarray | torch.Tensor | Path
    Outputs = Mapping[str, Output]


class TaskRefused(Refusal):
    """Raised by a task to tell the client why it cannot do what was asked: the sentence reaches the client."""

    def __init__(self, detail: str, *, code: str = "refused") -> None:
        super().__init__(code, detail)


class Cancelled(Exception):
    """The client gave the ticket up; raised out of ``progress()``."""


class Task:
    """One service. A subclass names it, declares its inputs and implements ``perform(self, <the inputs' ids>)``."""

    task_identifier: ClassVar[str]  #: what clients ask for
    description: ClassVar[str]  #: one sentence for clients
    inputs: ClassVar[Sequence[Input]]
    version: ClassVar[str] = "1"
    deadline_seconds: ClassVar[float] = 3600.0  #: after this long a running ticket is stopped and fails
    weights: ClassVar[Path | None] = None  #: a file whose SHA-256 the result names

    #: set by the worker
    report: Callable[[float, str | None], None] | None = None

    def load(self, device: torch.device) -> None:
        """Load the network onto ``device``: called once, before the first ticket; it stays warm."""

    def perform(self, **inputs: Any) -> Outputs:
        """Do the work: gets the checked inputs by their ids, returns named outputs.

        An output is a ``Volume``, a text, a JSON value, an array, a tensor, or the path of a file that it wrote.
        """
        raise NotImplementedError(f"{type(self).__name__}.perform() is missing")

    def expected_seconds(self, inputs: Mapping[str, Any]) -> float | None:
        """Say how long ``perform`` will take for checked inputs (a volume's is its ``VolumeHeader``), if known."""
        del inputs
        return None

    def progress(self, fraction: float, stage: str | None = None) -> None:
        """Tell the client how far the work is, 0 to 1, and at what; raises ``Cancelled`` if it was given up."""
        if self.report is not None:
            self.report(min(1.0, max(0.0, float(fraction))), stage)
