"""Passes on what a worker's tasks print, within bounds."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import threading
from dataclasses import dataclass

import structlog

from tomaat.messages.fields import cleaned

log = structlog.get_logger()

MOST_BYTES = 64 * 1024  #: that are passed on for one ticket, or before the first one
CHUNK_BYTES = 64 * 1024


@dataclass
class Allowance:
    """The bytes that may still be passed on for a ticket; ``None``: before the first one."""

    ticket: int | None
    left: int = MOST_BYTES


class WorkerOutput:
    """A pipe that takes the standard output and error of a worker, and a thread that empties it into the log.

    The thread is this process's, not the worker's: there a task may hold the interpreter while it prints. It ends when
    nobody holds the pipe any more.
    """

    def __init__(self) -> None:
        self.source: str | None = None  #: whose worker it is by now
        self.allowance = Allowance(ticket=None)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.pipe_out, self.pipe_in = os.pipe()
        self.thread = threading.Thread(target=self._pass_on, name="output", daemon=True)

    def start(self) -> None:
        """Begin to pass on; the worker holds its end of the pipe by now."""
        self.thread.start()  # first, so that the pipe can be given up where this fails
        os.close(self.pipe_in)

    def give_up(self) -> None:
        """Close the pipe of a worker that was not started."""
        os.close(self.pipe_in)
        os.close(self.pipe_out)

    def begin(self, ticket: int) -> None:
        """Count from now on for this ticket, unless it is counted already."""
        if self.allowance.ticket != ticket:
            self.allowance = Allowance(ticket=ticket)

    def take(self, printed: bytes) -> None:
        """Pass on what the ticket may still print, and say once that more was printed."""
        allowance = self.allowance
        text = self.decoder.decode(printed[: allowance.left])
        cut = len(printed) > allowance.left > 0
        allowance.left = max(0, allowance.left - len(printed))
        with contextlib.suppress(OSError):  # a log without room costs the prints, and no task that prints
            if text:
                sys.stderr.write(cleaned(text, len(text), lines=True) + ("\n" if cut else ""))
                sys.stderr.flush()
            if cut:
                log.warning("worker.output_cut", source=self.source, ticket=allowance.ticket, after_bytes=MOST_BYTES)

    def _pass_on(self) -> None:
        with os.fdopen(self.pipe_out, "rb", buffering=0) as pipe:
            while printed := pipe.read(CHUNK_BYTES):
                self.take(printed)
