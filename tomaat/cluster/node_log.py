"""The log of a node, which TaskScheduling writes among its own lines: a ticket's way is found in one place."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

MOST_LINES = 1000  #: that wait until somebody takes them; of more, the oldest are lost
CHUNK_BYTES = 64 * 1024


class NodeLog:
    """A pipe in the place of standard error, and a thread that empties it."""

    def __init__(self) -> None:
        """Take the place of standard error, for this program and those that it starts."""
        self.kept: deque[bytes] = deque(maxlen=MOST_LINES)
        self.give: Callable[[bytes], None] | None = None  #: takes whole lines, once there is somebody
        pipe_out, pipe_in = os.pipe()
        os.dup2(pipe_in, 2)
        os.close(pipe_in)
        threading.Thread(target=self._work, args=(pipe_out,), name="log", daemon=True).start()

    def _work(self, pipe_out: int) -> None:
        begun = b""
        while chunk := os.read(pipe_out, CHUNK_BYTES):
            *lines, begun = (begun + chunk).split(b"\n")
            if len(begun) > CHUNK_BYTES:
                lines, begun = [*lines, begun], b""
            self.kept.extend(line + b"\n" for line in lines)
            if self.give is not None and self.kept:
                self.give(b"".join(self.kept))
                self.kept.clear()
