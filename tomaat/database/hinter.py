"""Send NOTIFY hints after the commits, many in one."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

import sqlalchemy

from tomaat.database.hint import Hint
from tomaat.database.hints import send_hints

LATER_SECONDS = 0.05  #: for which a hint that can wait does so
APART_SECONDS = 0.02  #: between two statements: under load several hints come within it


class Hinter:
    """Sends hints in a thread of its own, in one statement all that were asked for since the last.

    A NOTIFY inside a transaction that waits for the disk would let all commits of the server queue behind one
    global lock.
    """

    def __init__(self, database: sqlalchemy.Engine) -> None:
        self.database = database
        self.wanted: SimpleQueue[Hint | None] = SimpleQueue()
        self.sent_at = -APART_SECONDS
        self.thread = threading.Thread(target=self._send_all, name="hints", daemon=True)
        self.thread.start()

    def send(self, hint: Hint) -> None:
        """Ask for a hint; returns at once."""
        self.wanted.put(hint)

    def close(self) -> None:
        """Send the remaining hints, and end."""
        self.wanted.put(None)
        self.thread.join(timeout=5)

    def _send_all(self) -> None:
        wanted: list[Hint | None] = []
        while None not in wanted:
            wanted = self._next()
            hints = [each for each in wanted if each is not None]
            if hints:
                self.sent_at = time.monotonic()
                send_hints(self.database, hints)

    def _next(self) -> list[Hint | None]:
        """Wait for hints; those that can wait do, for one that cannot, and all do right after a statement."""
        wanted = [self.wanted.get()]
        later = time.monotonic() + LATER_SECONDS
        with suppress(Empty):
            while True:
                can_wait = all(each is not None and not each.soon for each in wanted)
                until = later if can_wait else self.sent_at + APART_SECONDS
                left = 0.0 if None in wanted else max(0.0, until - time.monotonic())
                wanted.append(self.wanted.get(block=left > 0, timeout=left))
        return wanted
