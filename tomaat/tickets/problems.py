"""Tell clients why a ticket failed, as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

NO_RESULT = 409
GIGABYTE = 10**9
KINDS_OF_FAILURE = (
    "refused",
    "task-crashed",
    "worker-died",
    "worker-lost",
    "files-lost",
    "out-of-memory",
    "deadline-passed",
    "waited-too-long",
    "service-withdrawn",
    "result-not-stored",
    "not-loaded",
    "server-fault",
)  #: why tickets fail; a test holds them against the code


def problem(slug: str, title: str, detail: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Make the ``error`` of a failed ticket; its status is the answer to a request for the result."""
    made: dict[str, Any] = {"type": f"/problems/{slug}", "title": title, "status": NO_RESULT, "detail": detail}
    if errors:
        made["errors"] = errors
    return made


def refused(detail: str, errors: Collection[dict[str, Any]]) -> dict[str, Any]:
    """Say why the task, or the checks of its inputs, refused the ticket; each of ``errors`` is one fault."""
    return problem("refused", "The inputs were refused", detail, list(errors))


def task_crashed(error: str, reference: str, told: str | None = None) -> dict[str, Any]:
    """Say of which type the task's error was, and where its operator finds it; ``told`` is our own sentence."""
    detail = f"The task stopped with an error of its own ({error}); the server's log has it as {reference}."
    if told is not None:
        detail = f"The task has a fault: {told.rstrip('.')}. The server's log has it as {reference}."
    return problem("task-crashed", "The task crashed", detail)


def loading_too_long(service: str, seconds: float) -> dict[str, Any]:
    """Say that the service's network was not loaded in time."""
    return problem(
        "not-loaded",
        "The network was not loaded",
        f"{service}: its network was not loaded within {seconds:g} s; the service is not offered for now.",
    )


def server_fault(reference: str) -> dict[str, Any]:
    """Say that the server itself made an error, and where its operator finds it."""
    detail = f"The server made an error of its own while the ticket ran; its log has it as {reference}."
    return problem("server-fault", "The server made an error", detail)


def without_details() -> dict[str, Any]:
    """Say that a ticket failed for a reason that cannot be stored."""
    return problem("task-crashed", "The task crashed", "The reason cannot be stored; the server's log says more.")


def worker_lost(attempts: int) -> dict[str, Any]:
    """Say that every attempt's worker died."""
    times = "once" if attempts == 1 else f"{attempts} times"
    return problem(
        "worker-lost",
        "The task's process ended",
        f"The process that ran the task ended before its result, {times}; the ticket is not tried again.",
    )


def waited_too_long(service: str, hours: float) -> dict[str, Any]:
    """Say that no compute source came for the ticket."""
    return problem(
        "waited-too-long",
        "No compute source was free in time",
        f"{service}: no compute source ran the ticket within {hours:g} hours.",
    )


def service_withdrawn(service: str, hours: float) -> dict[str, Any]:
    """Say that nobody offers the ticket's service any more."""
    return problem(
        "service-withdrawn",
        "The service was withdrawn",
        f"{service}: no compute source has offered it for {hours:g} hours; it was withdrawn.",
    )


def worker_died(ending: str, attempts: int) -> dict[str, Any]:
    """Say how the last attempt's worker ended."""
    times = "once" if attempts == 1 else f"{attempts} times"
    return problem(
        "worker-died",
        "The task's process died",
        f"The process that ran the task {ending}; the ticket was started {times} and is not tried again.",
    )


def out_of_memory(
    service: str, source: str, needed_bytes: int | None, total_bytes: int | None, *, now: bool = False
) -> dict[str, Any]:
    """Say that a compute source is too small for this ticket; ``needed_bytes`` where that was known before.

    ``now``: the other bytes are those that are free now, not all that it has.
    """
    has = "" if total_bytes is None else f" ({gigabytes(total_bytes)})"
    if needed_bytes is None:
        detail = f"{service}: this ticket needs more memory than {source} has{has}, also with nothing else in it."
    else:
        there = (
            f"{source} has{has}"
            if total_bytes is None or not now
            else f"{gigabytes(total_bytes)} are free of {source}'s"
        )
        detail = f"{service}: a ticket needs {gigabytes(needed_bytes)} of memory; {there}."
    return problem("out-of-memory", "Not enough memory", detail)


def fits_nowhere(service: str, needed_bytes: int, largest_bytes: int) -> dict[str, Any]:
    """Say that every compute source that offers the service is too small for it."""
    detail = (
        f"{service}: a ticket was measured to need {gigabytes(needed_bytes)} of memory; the largest compute source "
        f"that offers it has {gigabytes(largest_bytes)}."
    )
    return problem("out-of-memory", "Not enough memory", detail)


def gigabytes(size_bytes: int) -> str:
    """Write a size for a client to read.

    >>> gigabytes(25_769_803_776)
    '25.8 GB'
    """
    return f"{size_bytes / GIGABYTE:.1f} GB" if size_bytes >= GIGABYTE else f"{size_bytes * 1000 / GIGABYTE:.0f} MB"


def result_not_stored() -> dict[str, Any]:
    """Say that the result could not be written."""
    return problem(
        "result-not-stored",
        "The result could not be stored",
        "The server could not write the result to its storage; ask its operator, then send the request again.",
    )


def files_lost() -> dict[str, Any]:
    """Say that a restored backup has the ticket, but not its files."""
    return problem(
        "files-lost",
        "The files are not in the backup",
        "The server was restored from a backup that has this ticket without its files; send the request again.",
    )


def deadline_passed(service: str, seconds: float) -> dict[str, Any]:
    """Say that the task took too long."""
    return problem(
        "deadline-passed",
        "The task took too long",
        f"{service}: the task did not end within its deadline of {seconds:g} s and was stopped.",
    )
