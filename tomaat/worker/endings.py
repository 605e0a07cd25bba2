"""How a job ends that gives no result, as its worker tells the lane."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from tomaat.processes.log import frames_of
from tomaat.refusals import Refusal
from tomaat.services import Cancelled
from tomaat.services.payload import PayloadRefused
from tomaat.storage.disk import is_disk_full
from tomaat.tickets.problems import out_of_memory, problem
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


def end_of(job: Job, error: Exception) -> dict[str, Any]:
    """Make the message that ends a job by an error, whichever stage raised it."""
    if isinstance(error, Cancelled):
        return {"is": "cancelled", "key": job.key}
    if isinstance(error, NotWritten):
        return {"is": "disk_full", "key": job.key}
    if isinstance(error, PayloadRefused):
        refusal = refused(error.errors[0]["detail"], error.errors)
        return {"is": "refused", "key": job.key, "problem": refusal}
    if isinstance(error, Refusal):
        return {"is": "refused", "key": job.key, "problem": refused(error.detail)}
    if isinstance(error, OutOfMemory):
        shortage = out_of_memory(job.service, job.source, error.needed_bytes, error.total_bytes)
        return {"is": "outgrown", "key": job.key, "problem": shortage}
    return {"is": "crashed", "key": job.key, "problem": crashed(error)}


def refused(detail: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Make the problem of a ticket that the task or the reader refused."""
    return problem("refused", "The inputs were refused", detail, errors)


def crashed(error: Exception) -> dict[str, Any]:
    """Log where a task crashed, under a reference that the client gets; the error's own text may name a patient."""
    reference = secrets.token_hex(4)
    log.error("task.crashed", reference=reference, error=type(error).__name__, frames=frames_of(error))
    detail = (
        f"The task stopped with an error of its own ({type(error).__name__}); the server's log has it as {reference}."
    )
    return problem("task-crashed", "The task crashed", detail)
