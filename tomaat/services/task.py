"""The class that users write: it offers a network, or any computation, as a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from Inputs import Input
from tomaat.services.expected_memory import ExpectedMemory

#: Output names, each a Python name, to ``Labels``, ``Volume``, array, tensor, ``Path`` of a file, text or JSON value.
Outputs = Mapping[str, Any]


class Task:
    """A service's implementation: the worker makes a task without arguments, loads it, and performs each ticket by it.

    The worker may make the task again to free memory. So ``load`` must prepare all that ``perform`` needs.
    ``CustomTasks/FloatComputationTask.py`` is the smallest there is. A file in ``CustomTasks/`` may hold several tasks;
    one whose name begins with ``_`` holds none, and a class whose name begins with ``_`` is not offered.
    """

    task_identifier: ClassVar[str]  #: the service's name: letters, digits, ``_`` and ``-``
    description: ClassVar[str]  #: one sentence for those who look for a service
    version: ClassVar[str] = "1"  #: stands in every result; change it when the same inputs give another result
    inputs: ClassVar[Sequence[Input]]  #: ``perform`` takes one argument of each id
    trial: ClassVar[bool] = False  #: only to try the service with: the page lists it apart from the others
    intended_use: ClassVar[str] = ""  #: for whom and for which images it is meant, and what it must not be used for
    licence: ClassVar[str] = ""  #: of the network, and of what it may be used for
    reference: ClassVar[str] = ""  #: the paper or the address to cite
    contact: ClassVar[str] = ""  #: who answers questions about its results
    kind: ClassVar[str] = ""  #: of the network folder that it was made from, such as nnU-Net; none for written tasks
    #: the packages, beside Python, whose versions stand in every result
    packages: ClassVar[Sequence[str]] = ()
    #: seconds from the claim, with reading; a ticket that takes longer is stopped and fails
    deadline_seconds: ClassVar[float] = 3600.0
    load_deadline_seconds: ClassVar[float | None] = None  #: for ``load``; ``None``: the server's LOAD_DEADLINE_SECONDS
    example: ClassVar[Mapping[str, Any]] = {}  #: by inputs' ids: values, and of volumes files, to try it with
    #: the network's file or folder, whose SHA-256 stands in every result; ``load`` may set it
    weights: Path | None = None

    report: Callable[[float, str], None] = staticmethod(lambda _fraction, _stage: None)  #: the worker listens here

    def load(self, device: Any) -> None:
        """Load the network onto ``device`` (a ``torch.device``).

        The worker calls this before the first ticket, and again after it let the network go.
        """

    def warm_up(self) -> None:
        """Run the network once, on zeros, where the first run takes longer than those after it; by default nothing.

        The worker calls this after ``load``, on the same device, before the service is offered, and not for a network
        that is loaded for a ticket. It counts as loading: ``load_deadline_seconds`` bounds both together. An error is
        logged, and the service is offered all the same.
        """

    def perform(self, *args: Any, **kwargs: Any) -> Outputs:
        """Compute a ticket's outputs; the parameters are the inputs' ids, written out, as in ``self, f1, f2, op``.

        An input that is not required, has no default and was left out is ``None``. Raise ``TaskRefused`` to tell the
        client why there is no result.
        """
        raise NotImplementedError

    def expected_seconds(self, inputs: Mapping[str, Any]) -> float | None:  # noqa: ARG002 (for those who override it)
        """Foretell how long ``perform`` will take, to help choosing the shortest queue; ``None`` leaves it to history.

        ``inputs`` has the checked JSON values, and of each volume file its ``VolumeHeader``, by their ids. A DICOM
        series, and a volume that was left out, has no entry. The worker asks about waiting tickets, maybe in another
        thread while ``perform`` runs: read ``inputs`` only.
        """
        return None

    def expected_memory(
        self,
        inputs: Mapping[str, Any],  # noqa: ARG002 (for those who override it)
        *,
        gpu_bytes: int | None,  # noqa: ARG002
    ) -> ExpectedMemory | None:
        """Foretell the memory that ``perform`` will take with these arguments; ``None`` leaves it to what was measured.

        ``gpu_bytes`` is the GPU's memory; ``None`` on a CPU. The worker asks before ``perform``, in its thread, also
        where the network is not loaded.
        """
        return None

    def progress(self, fraction: float, stage: str) -> None:
        """Tell the client how far the ticket is (0 to 1) and in which stage, a text of at most 200 characters.

        Raises ``Cancelled`` when the client gave the ticket up: call it every second or so.
        """
        self.report(min(1.0, max(0.0, float(fraction))), str(stage))
