"""How a job ends that gives no result, as its worker tells the lane."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import structlog

from tomaat.messages import DiskFull, NoResult, Outgrown, TaskCrashed, TaskStopped, TicketRefused
from tomaat.refusals import Refusal, TaskFault
from tomaat.services import Cancelled
from tomaat.services.expected_memory import NoRoom
from tomaat.services.payload import PayloadRefused
from tomaat.storage.disk import is_disk_full
from tomaat.worker.errors import facts_of
from tomaat.worker.job import Job
from tomaat.worker.networks import OutOfMemory

log = structlog.get_logger()


class NotWritten(Exception):
    """The disk is too full for a result."""


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tell a disk that is too full for a result, as ``NotWritten``, from all else that may go wrong meanwhile."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error, out):
            raise NotWritten from error
        raise


def end_of(job: Job, error: BaseException) -> NoResult:
    """Make the message that ends a job by an error, whichever stage raised it."""
    try:
        told = _told_by(job, error)
    except BaseException:  # noqa: BLE001 (a refusal may be of a task's own class, without a sentence)
        told = None
    return told or crashed(job, error)


def _told_by(job: Job, error: BaseException) -> NoResult | None:
    """Make the message of an error that the lane has one for; ``None``: the task crashed."""
    match error:
        case Cancelled() if job.report.given_up:  # of its own accord a task cancels nothing
            return TaskStopped(key=job.key)
        case NotWritten():
            return DiskFull(key=job.key)
        case PayloadRefused():
            return TicketRefused(key=job.key, detail=error.errors[0]["detail"], errors=tuple(error.errors))
        case Refusal():
            return TicketRefused(key=job.key, detail=str(error.detail), now=isinstance(error, NoRoom))
        case OutOfMemory():
            return Outgrown(key=job.key, needed_bytes=error.needed_bytes, total_bytes=error.total_bytes, now=error.now)
    return None


def crashed(job: Job, error: BaseException) -> TaskCrashed:
    """Log what went wrong, under a reference that the client gets.

    Of the error's text the client gets our own sentence alone: a text of the task's own may name a patient.
    """
    reference = secrets.token_hex(4)
    log.error("task.crashed", reference=reference, **facts_of(error))
    told = error.told if isinstance(error, TaskFault) else None
    return TaskCrashed(key=job.key, error=type(error).__name__, told=told, reference=reference)
