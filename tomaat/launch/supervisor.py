"""Keep programs running: start them in order, restart the dead, stop them in the opposite order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from tomaat.processes.not_started import NotStarted

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 0.5  #: between a death and the next start; doubles with each
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0  #: a program that ran this long has no past


class Program(Protocol):
    """A program that can be kept running: a door, or PostgreSQL."""

    name: str

    def start(self) -> object:
        """Start it."""

    def alive(self) -> bool:
        """Tell whether it runs."""

    def stop(self) -> None:
        """End it, within a bound."""


@dataclass
class Record:
    """The past of a program."""

    started: float | None = None
    deaths: int = 0
    start_at: float = 0.0


class Supervisor:
    """The programs of one instance, in the order in which they start."""

    def __init__(self, programs: Sequence[Program], clock: Callable[[], float] = time.monotonic) -> None:
        self.programs = programs
        self.clock = clock
        self.records = [Record() for _ in programs]

    def tend(self) -> None:
        """Start each program that does not run and has paused long enough. Call it often, from the main thread."""
        for program, record in zip(self.programs, self.records, strict=True):
            now = self.clock()
            if program.alive():
                record.started = record.started or now
                continue
            if record.started is not None:
                self._note_death(program, record, now)
            if now >= record.start_at:
                self._start(program, record)

    def stop(self) -> None:
        """Stop all, the last started first, also where one cannot be stopped."""
        for program in reversed(self.programs):
            log.info("program.stopping", program=program.name)
            program.stop()

    def _start(self, program: Program, record: Record) -> None:
        try:
            program.start()
        except (OSError, NotStarted) as error:
            if record.deaths == 0:
                raise
            log.error("program.not_started", program=program.name, reason=str(error))
        record.started = self.clock()

    @staticmethod
    def _note_death(program: Program, record: Record, now: float) -> None:
        if record.started is not None and now - record.started > STEADY_SECONDS:
            record.deaths = 0  # else the pause goes on growing
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**record.deaths)
        record.deaths += 1
        record.start_at = now + pause
        record.started = None
        log.error("program.died", program=program.name, again_in_seconds=pause)
