"""Sends what several threads have to say over one connection."""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import Any

from tomaat.cluster.stream import BEAT, LINES, Stream, StreamClosed

BEAT_SECONDS = 1.0
SLICE_BYTES = 512 * 1024


class Outbox:
    """Sends what several threads have to say over one connection, and signs of life between."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.waiting: SimpleQueue[tuple[bytes, bytes] | dict[str, Any] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self.thread.start()

    def say(self, **words: Any) -> None:
        """Say some facts."""
        self.waiting.put(words)

    def send(self, kind: bytes, data: bytes) -> None:
        """Send a frame."""
        self.waiting.put((kind, data))

    def send_lines(self, lines: bytes) -> None:
        """Send lines of a log."""
        for begin in range(0, len(lines), SLICE_BYTES):
            self.send(LINES, lines[begin : begin + SLICE_BYTES])

    def close(self) -> None:
        """Send what waits, and no more."""
        self.waiting.put(None)

    def _work(self) -> None:
        try:
            while True:
                try:
                    next_one = self.waiting.get(timeout=BEAT_SECONDS)
                except Empty:
                    next_one = (BEAT, b"")
                if next_one is None:
                    return
                if isinstance(next_one, dict):
                    self.stream.say(**next_one)
                else:
                    self.stream.send(*next_one)
        except StreamClosed:
            self.stream.shut()
