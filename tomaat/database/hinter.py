"""Send NOTIFY hints after the commits, many in one."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import sqlalchemy

from tomaat.database.hints import hint


class Hinter:
    """Sends hints in a thread of its own, each channel once for all calls since the last sending.

    A NOTIFY inside a ticket's transaction would let all commits of the server queue behind one global lock.
    """

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database
        self.wanted: SimpleQueue[str | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._send_all, name="hints", daemon=True)
        self.thread.start()

    def send(self, channel: str) -> None:
        """Ask for a hint on ``channel``; returns at once."""
        self.wanted.put(channel)

    def close(self) -> None:
        """Send the remaining hints, and end."""
        self.wanted.put(None)
        self.thread.join(timeout=5)

    def _send_all(self) -> None:
        while True:
            channels = [self.wanted.get()]
            while not self.wanted.empty():
                channels.append(self.wanted.get())
            for channel in dict.fromkeys(channels):
                if channel is not None:
                    hint(self.database, channel)
            if None in channels:
                return
