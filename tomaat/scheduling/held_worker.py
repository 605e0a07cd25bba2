"""A lane's worker, and what the lane knows of it while it lives."""

from __future__ import annotations

import contextlib
from typing import Any

from tomaat.messages.channel import ChannelClosed
from tomaat.scheduling.local_engine import Worker


class HeldWorker:
    """A worker that was started, and whatever is gone with it."""

    def __init__(self, process: Worker) -> None:
        self.process = process
        self.offers: dict[str, dict[str, Any]] = {}
        self.ahead: int | None = None  #: the waiting ticket whose inputs it was told to read
        self.estimating = False

    @property
    def interface_hashes(self) -> list[str]:
        """What it can run."""
        return [offer["interface_hash"] for offer in self.offers.values()]

    def fileno(self) -> int:
        """Let ``poll`` wait for what it says."""
        return self.process.channel.fileno()

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message. That the worker died is heard later, after what it said before."""
        with contextlib.suppress(ChannelClosed):
            self.process.channel.send(message)

    def hear(self) -> dict[str, Any]:
        """Take its next message; when it is gone, that is ``ended``."""
        try:
            return self.process.channel.receive()
        except ChannelClosed:
            return {"is": "ended", "ending": self.process.ending()}
