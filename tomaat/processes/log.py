"""How the doors log: one line per event, with facts; never a token, never a patient's name."""

from __future__ import annotations

import logging
import sys
import traceback

import structlog
from structlog.typing import EventDict


def configure_logging(door: str, log_format: str) -> None:
    """Let structlog write lines to standard error, and the libraries their warnings and errors."""

    def name_door(_logger: object, _level: str, event: EventDict) -> EventDict:
        """Name the program, in every thread: a context's facts are those of its thread alone."""
        return {**event, "door": door}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            name_door,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if log_format == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, pad_level=False),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def frames_of(error: BaseException) -> str:
    """Tell where an error was raised, without its text, which may name a patient."""
    return "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
