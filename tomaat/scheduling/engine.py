"""The seam between the lanes and whatever starts their workers: all that another engine has to bring.

``LocalEngine`` starts workers as processes of this machine. ``tomaat.cluster.RemoteEngine`` starts them on nodes, which
Ray finds. For Slurm alone, or Nomad, write how nodes are found (``tomaat/cluster/ray_nodes.py`` does it for Ray). For
nodes that are reached otherwise, write an ``Engine`` and its ``Worker``.

Rules that no type can say:

- A worker is the program ``python -m tomaat.worker``. It ends with its engine, however that ends: no orphan holds a
  device.
- **A ticket's files.** A lane names folders of this machine in ``Perform``, ``ReadAhead``, ``Estimate`` and ``Reload``.
  An engine whose workers see other disks brings the files there before the message, by other paths. It brings the
  result back, into the folder ``out`` that ``Perform`` named, before the lane hears ``Packed``: as ``DRAFT``, beside a
  folder ``FILES``. Nothing of a ticket stays elsewhere. A disk that is full there is ``DiskFull``.
- **A dead worker** tells by ``end_fd``. Whatever a machine's end or a cut cable leaves unknown counts as dead, after a
  lease at most. The ticket's claim refuses what comes late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_reading import DeviceReading
from tomaat.messages import FromLane, FromWorker


class Worker(Protocol):
    """The handle of a process that holds one compute source's device for a lane. Used by the lane's thread."""

    @property
    def pid(self) -> int:
        """The process's id, on its machine."""

    @property
    def started(self) -> int:
        """When it started, in clock ticks after its machine's boot: with the id, this names it."""

    @property
    def end_fd(self) -> int:
        """A descriptor of which ``poll`` says something once the process has ended; its last messages are there."""

    def fileno(self) -> int:
        """Let ``poll`` wait for its messages."""

    def send(self, message: FromLane) -> None:
        """Send it a message. Raises ``ChannelClosed`` when it has ended."""

    def has_message(self) -> bool:
        """Tell whether ``receive`` would return at once."""

    def receive(self) -> FromWorker:
        """Wait for its next message. Raises ``ChannelClosed`` when it has ended, ``MessageRefused`` for nonsense."""

    def count_output(self, ticket: int) -> None:
        """Bound what it prints from now on as this ticket's."""

    def alive(self) -> bool:
        """Tell whether it still runs."""

    def kill(self) -> None:
        """Kill it, with the processes that it has started; its end is heard after its last messages."""

    def stop(self) -> None:
        """Kill it, wait a while until it has ended, and give its handle back."""

    def ending(self) -> str:
        """Say how it ended, for a client to read."""


class Engine(Protocol):
    """Finds compute sources, and starts their workers. Used by the main thread, but for ``start``."""

    @property
    def duties(self) -> Sequence[Callable[[], None]]:
        """Acts to be done with each heartbeat, each short; they may raise ``OSError``."""

    def sources(self) -> Sequence[ComputeSource]:
        """List the compute sources that there are at this moment, without waiting."""

    def reading(self, name: str) -> DeviceReading | None:
        """Take a source's latest reading, if there is one that was not taken."""

    def start(
        self,
        source: ComputeSource,
        kept: Path,
        lane: int,
        *,
        shared: bool,
        ending: Callable[[], bool],
        python: str | None = None,
    ) -> Worker | None:
        """Start a lane's worker, from the lane's thread; ``None`` for a lane that is ``ending`` by then.

        It imports the tasks from the copy ``kept``. The device is ``shared`` with the workers of other lanes. Raises
        ``OSError`` where none can be started, or when the lane's former worker does not end. It is run by ``python``,
        of another virtual environment, or as this program is.
        """

    def serve_requests(self) -> None:
        """Do what lanes have asked of the main thread."""

    def end_left_over(self, source: str, pid: int, started: int) -> bool:
        """Kill the worker of a holder that is gone, if it is still that very process; tells whether it was."""

    def end_spare(self) -> None:
        """Keep no worker for lanes to come: all of them will end."""

    def close(self) -> None:
        """Give everything back, once no lane runs."""
