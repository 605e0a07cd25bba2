"""The memory and the loading time that a service needs on a compute source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Need:
    """Measured by the worker, kept in the database, used to choose queues and to make room."""

    network_bytes: int  #: that its network holds while it is warm
    peak_bytes: int | None  #: the most with a ticket running, the network included; ``None``: no ticket ran yet
    load_seconds: float  #: how long its network takes to load

    @property
    def most_bytes(self) -> int:
        """The most that is known to be needed at once."""
        return max(self.network_bytes, self.peak_bytes or 0)
