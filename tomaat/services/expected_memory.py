"""The memory that a ticket will need, as its task foretells it from the volumes."""

from __future__ import annotations

from dataclasses import dataclass

from tomaat.refusals import WrongValue
from tomaat.services.task_refused import TaskRefused

GIB = 1024**3
MOST_BYTES = 2**60


class NoRoom(TaskRefused):
    """A ticket needs more of the machine's memory than is free now; without its neighbours it may fit."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail, code="too-large")


@dataclass(frozen=True, kw_only=True)
class ExpectedMemory:
    """Bytes that ``perform`` takes beside the loaded network, at the most at once.

    A ticket is refused where the first two do not fit, so foretell only what is sure: volumes, outputs. The layers are
    a guess; room is made for them. Raises ``WrongValue`` for what is no whole number of bytes.
    """

    machine_bytes: int  #: of the machine's memory; on a CPU everything
    gpu_bytes: int = 0  #: of the GPU's memory, where there is one
    layers_bytes: int | None = None  #: what the network itself takes at work, on its device; ``None``: not known
    about: str = ""  #: what takes the memory, as in ``for 3 outputs of 150 x 200 x 200 voxels``

    def __post_init__(self) -> None:
        for name in ("machine_bytes", "gpu_bytes", "layers_bytes"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and 0 <= value <= MOST_BYTES):
                raise WrongValue(f"{name} is {{}}; write a whole number of bytes", value)

    def told(self, *, on_gpu: bool) -> str:
        """Say the need in one line.

        >>> ExpectedMemory(machine_bytes=3 * GIB, layers_bytes=GIB).told(on_gpu=False)
        "about 3 GiB of the machine's memory, and roughly 1 GiB more for the network at work"
        """
        there = f"{gib(self.gpu_bytes)} of the GPU's memory and " if on_gpu and self.gpu_bytes else ""
        more = "an unknown amount" if self.layers_bytes is None else f"roughly {gib(self.layers_bytes)}"
        sure = f"about {there}{gib(self.machine_bytes)} of the machine's memory"
        where = "on the GPU " if on_gpu else ""
        return f"{sure}, and {more} more {where}for the network at work"

    def demand_room(self, free_bytes: int) -> None:
        """Raise ``NoRoom`` where the machine's free memory does not suffice."""
        if self.machine_bytes > free_bytes:
            about = f", {self.about}" if self.about else ""
            raise NoRoom(
                f"The ticket needs about {gib(self.machine_bytes)} of the machine's memory{about}, and "
                f"{gib(free_bytes)} are free; send a part of the volume."
            )


def gib(size_bytes: int) -> str:
    """Write bytes for people.

    >>> gib(5 * GIB // 2), gib(GIB // 100), gib(2**40)
    ('2.5 GiB', '0.01 GiB', '1024 GiB')
    """
    size = size_bytes / GIB
    return f"{size:.0f} GiB" if size >= 100 else f"{size:.3g} GiB"  # noqa: PLR2004 (digits)
