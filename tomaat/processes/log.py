"""How the doors log: one line per event, with facts; never a token, never a patient's name."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict

MOST_FRAMES = 20  #: of one error; of more, the first ten and the last ten
MOST_ERRORS = 3  #: of a chain in which one was raised because of another


class LossyStream:
    """Writes to ``stream``, and loses what cannot be written, to a full disk for example.

    Nobody who logs a line dies of it. Later lines are written again once there is room.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write, if it can be done."""
        with contextlib.suppress(OSError):
            self.stream.write(text)

    def flush(self) -> None:
        """Flush, if it can be done."""
        with contextlib.suppress(OSError):
            self.stream.flush()


def configure_logging(
    door: str,
    log_format: str,
    log_level: str = "info",
    *,
    process: int | None = None,
    task_texts: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Let structlog write lines of a level or above to standard error, and the libraries their troubles.

    Each line names the door, and the ``process`` of several. The fact ``task_text``, which may name a
    patient, is dropped unless the operator wants ``task_texts``. ``stream`` takes structlog's lines instead of standard
    error.
    """
    lines = stream or sys.stderr
    written_by = {"door": door} if process is None else {"door": door, "process": process}

    def withhold_texts(_logger: object, _level: str, event: EventDict) -> EventDict:
        if not task_texts:
            event.pop("task_text", None)
        return event

    def name_door(_logger: object, _level: str, event: EventDict) -> EventDict:
        """Name the program, in every thread: a context's facts are those of its thread alone."""
        return {**event, **written_by}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            withhold_texts,
            name_door,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *(
                [structlog.processors.JSONRenderer()]
                if log_format == "json"
                else [
                    write_frames_below,
                    structlog.dev.ConsoleRenderer(colors=lines.isatty(), pad_event_to=0, pad_level=False),
                ]
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(log_level),
        logger_factory=structlog.WriteLoggerFactory(LossyStream(lines)),  # type: ignore[arg-type]  # all that it asks for
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def write_frames_below(_logger: object, _level: str, event: EventDict) -> EventDict:
    """Let an error's frames, and its text, be lines below the line of the event."""
    below = [*event.pop("frames", ()), *event.pop("task_text", "").splitlines()]
    return {**event, "stack": "\n".join(below)} if below else event


def frames_of(error: BaseException, *, of_callers: Path | None = None) -> list[str]:
    """Tell in lines where an error was raised, without its text, which may name a patient.

    The causes come first, as Python writes them. Frames of the callers, whose code lies below ``of_callers``, are left
    out, if there are others.
    """
    lines = []
    for each in errors_of(error):
        lines += [*_frames(each, of_callers), type(each).__name__]
    return lines


def text_of(error: BaseException) -> str:
    """Give the text of an error, which may be other people's and have none that can be made."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 (it may raise anything, SystemExit too)
        return "its text cannot be made"


def errors_of(error: BaseException) -> list[BaseException]:
    """List an error behind the errors of which it was raised, at most three."""
    chain = [error]
    while len(chain) < MOST_ERRORS:
        last = chain[-1]
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or before in chain:
            break
        chain.append(before)
    return chain[::-1]


def _frames(error: BaseException, of_callers: Path | None) -> list[str]:
    frames = list(traceback.extract_tb(error.__traceback__))
    if of_callers is not None:
        others = [place for place, frame in enumerate(frames) if not frame.filename.startswith(f"{of_callers}/")]
        frames = frames[others[0] :] if others else frames
    half = MOST_FRAMES // 2
    left_out = len(frames) - MOST_FRAMES
    if left_out > 0:
        head, tail = (traceback.StackSummary.from_list(part).format() for part in (frames[:half], frames[-half:]))
        written = [*head, f"  … {left_out} more frames …\n", *tail]
    else:
        written = traceback.StackSummary.from_list(frames).format()
    return [line for frame in written for line in frame.splitlines()]
