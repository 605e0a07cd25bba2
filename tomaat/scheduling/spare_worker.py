"""Keeps one worker started ahead, its imports done and its device untouched, to take the place of one that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from tomaat.messages import ChannelClosed, TakePlace

if TYPE_CHECKING:
    from tomaat.scheduling.local_engine import LocalWorker

log = structlog.get_logger()


class SpareWorker:
    """Used by the main thread. A spare is due once a worker was started; one that ends by itself is not replaced."""

    def __init__(self, start: Callable[[], LocalWorker]) -> None:
        self.start = start
        self.worker: LocalWorker | None = None
        self.is_due = False
        self.is_quiet = False  #: no worker was started since the last ``keep``

    def note_start(self) -> None:
        """Note that a worker takes a place now: the next spare waits until that one has done its imports."""
        self.is_due, self.is_quiet = True, False

    def keep(self) -> None:
        """Start a spare if one is due, at the second call after the last start of a worker. May raise ``OSError``."""
        if self.worker is not None and not self.worker.alive():
            log.error("worker.spare_died", ending=self.worker.ending())
            self.end()
        elif self.worker is None and self.is_due and self.is_quiet:
            self.is_due = False
            self.worker = self.start()
        self.is_quiet = True

    def take(self, place: TakePlace) -> LocalWorker | None:
        """Let the spare, if there is one that lives, take a place."""
        worker, self.worker = self.worker, None
        if worker is None:
            return None
        try:
            worker.send(place)
        except ChannelClosed:
            worker.stop()
            return None
        return worker

    def end(self) -> None:
        """End the spare, if there is one."""
        if self.worker is not None:
            self.worker.stop()
            self.worker = None
