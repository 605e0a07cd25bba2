"""Know when a door was asked to stop."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable
from types import FrameType

from tomaat.processes.waker import Waker


class Stop:
    """Set by SIGTERM and SIGINT; made once, by a door's main thread.

    A pipe wakes the sleepers, since a signal's handler may not touch objects that the interrupted code holds.
    """

    def __init__(self) -> None:
        self.asked = False
        self.wakers: list[Callable[[], None]] = []
        self.waker = Waker()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def also_wake(self, waker: Callable[[], None]) -> None:
        """Call ``waker`` when the door is asked to stop; it must be safe in a signal's handler."""
        self.wakers.append(waker)

    @staticmethod
    def on_hangup(act: Callable[[], None]) -> None:
        """Call ``act``, which must be safe in a signal's handler, when the door gets SIGHUP."""
        signal.signal(signal.SIGHUP, lambda *_: act())

    def sleep(self, seconds: float) -> bool:
        """Sleep, at most until the door is asked to stop; tell whether it was."""
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        poll.poll(seconds * 1000)
        return self.asked

    def repeat(self, seconds: float, *acts: Callable[[], None]) -> None:
        """Do some acts every so many seconds, until the door is asked to stop."""
        while not self.sleep(seconds):
            for act in acts:
                act()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.asked = True
        self.waker.wake()
        for waker in self.wakers:
            waker()
