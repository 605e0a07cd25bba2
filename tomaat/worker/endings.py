"""How a job ends that gives no result, as its worker tells the lane."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import structlog

from tomaat.messages import DiskFull, NoResult, Outgrown, TaskCrashed, TaskStopped, TicketRefused
from tomaat.processes.log import frames_of
from tomaat.refusals import Refusal
from tomaat.services import Cancelled
from tomaat.services.payload import PayloadRefused
from tomaat.storage.disk import is_disk_full
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


def end_of(job: Job, error: Exception) -> NoResult:
    """Make the message that ends a job by an error, whichever stage raised it."""
    match error:
        case Cancelled():
            return TaskStopped(key=job.key)
        case NotWritten():
            return DiskFull(key=job.key)
        case PayloadRefused():
            return TicketRefused(key=job.key, detail=error.errors[0]["detail"], errors=tuple(error.errors))
        case Refusal():
            return TicketRefused(key=job.key, detail=str(error.detail))
        case OutOfMemory():
            return Outgrown(key=job.key, needed_bytes=error.needed_bytes, total_bytes=error.total_bytes)
    return crashed(job, error)


def crashed(job: Job, error: Exception) -> TaskCrashed:
    """Log where a task crashed, under a reference that the client gets; the error's own text may name a patient."""
    reference = secrets.token_hex(4)
    log.error("task.crashed", reference=reference, error=type(error).__name__, frames=frames_of(error))
    return TaskCrashed(key=job.key, error=type(error).__name__, reference=reference)
