"""Show a person on standard error how requests go on."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

from tomaat.client.step import Step

BAR_CELLS = 24
REDRAW_SECONDS = 0.1
PLAIN_SECONDS = 10.0  #: between two lines about the same, where no terminal shows them


class Display:
    """One line that is drawn again and again on a terminal; elsewhere a plain line now and then; nothing if quiet."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self.stream = stream
        self.quiet = quiet
        self.terminal = stream.isatty()
        self.drawn = False
        self.shown_at = float("-inf")
        self.last: str | None = None

    def show(self, about: str, step: Step) -> None:
        """Show where something stands, unless something was shown just now."""
        topic = f"{about}{step.what}"
        pause = REDRAW_SECONDS if self.terminal else PLAIN_SECONDS
        if self.quiet or (topic == self.last and time.monotonic() < self.shown_at + pause):
            return
        self.last = topic
        self.shown_at = time.monotonic()
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self.stream.write(f"\r\x1b[K{printable(line(about, step))[:width]}")
            self.drawn = True
        else:
            self.stream.write(f"{printable(line(about, step))}\n")
        self.stream.flush()

    def note(self, text: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            self.clear()
            self.stream.write(f"{printable(text)}\n")
            self.stream.flush()

    def clear(self) -> None:
        """Take the drawn line away."""
        if self.drawn:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self.drawn = False


def printable(text: str) -> str:
    """Take out characters that could steer a terminal: others wrote many of the texts that are printed.

    >>> printable("home" + chr(27) + "[2J").encode("ascii", "replace")
    b'home?[2J'
    """
    return "".join(one if one.isprintable() or one in "\n\t" else "\ufffd" for one in text)


def line(about: str, step: Step) -> str:
    """Draw a step.

    >>> line("", Step("uploading", 0.25, "3.0 of 12.0 MB"))
    'uploading [######------------------]  25 %  3.0 of 12.0 MB'
    >>> line("head7: ", Step("waiting", None, ""))
    'head7: waiting'
    """
    drawn = f"{about}{step.what}"
    if step.fraction is not None:
        full = round(BAR_CELLS * min(1.0, max(0.0, step.fraction)))
        drawn += f" [{'#' * full}{'-' * (BAR_CELLS - full)}] {step.fraction:4.0%}".replace("%", " %")
    return f"{drawn}  {step.text}".rstrip()
