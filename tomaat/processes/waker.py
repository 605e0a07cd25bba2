"""Wake a thread that sleeps in ``poll``, from another thread or from a signal's handler."""

from __future__ import annotations

import contextlib
import os


class Waker:
    """A pipe to put among the descriptors that a thread polls; wake-ups before it looks count as one."""

    def __init__(self) -> None:
        self.pipe_out, self.pipe_in = os.pipe()
        os.set_blocking(self.pipe_in, False)
        os.set_blocking(self.pipe_out, False)

    def fileno(self) -> int:
        """Tell ``poll`` the end that becomes readable."""
        return self.pipe_out

    def wake(self) -> None:
        """Wake the sleeper, or let it not fall asleep."""
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self.pipe_in, b"!")

    def rest(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.pipe_out, 4096)

    def close(self) -> None:
        """Give the pipe back."""
        os.close(self.pipe_in)
        os.close(self.pipe_out)
