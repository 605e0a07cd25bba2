"""Everything that a lane and its worker say to each other. Both sides take it apart with ``match``.

====================  ==============================================================================================
lane                  worker
====================  ==============================================================================================
``TakePlace``         ``DeviceUsable``, or ``DeviceUnusable``
``KnownOffer``…,      of each file and network: ``Loading``, ``Offered`` or ``NotOffered``, ``Loaded``; at last
``Begin``             ``WorkerReady``; tickets for what is offered may come before it
``Perform``           ``Progress``…, ``Performing`` (its inputs are read), ``Progress``…, ``Performed`` (the device is
                      free), ``Progress``…, ``Packed``; or, wherever it ends early, ``TicketRefused``,
                      ``TaskCrashed``, ``Outgrown``, ``TaskStopped`` or ``DiskFull``; meanwhile ``Measured``, whenever
                      something new was measured, ``Loading``, ``Loaded`` for a network that was let go, and
                      ``Expected`` where its task foretells the memory;
                      before an end by an error: ``DeviceBroken``, if the device was lost with it
``ReadAhead``         (reads a waiting ticket's inputs before it is claimed, and holds them instead of others)
``Reload``            ``Loading``, ``Offered`` or ``NotOffered``, ``Loaded`` as at the start; ``Reloaded``
``Forget``            (lets the inputs go that were read ahead)
``MakeRoom``          ``Measured`` where networks are let go; ``RoomMade``
``GiveUp``            (the task's next ``progress()`` raises ``Cancelled``)
``Estimate``          ``Estimated``
====================  ==============================================================================================

Each field has a rule (``fields.py``), which the sender and the receiver apply. So a task's sentence is cleaned before
it leaves the worker, and a lane trusts nothing that arrives. A worker that breaks a rule is at fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from tomaat.messages.fields import (
    MessageRefused,
    Rule,
    by_id,
    checked,
    claim_key,
    count,
    each,
    facts,
    faults,
    flag,
    fraction,
    json_value,
    optional,
    path,
    seconds,
    sentence,
    word,
)

LONGEST_STAGE = 200  #: characters
LONGEST_REASON = 4000  #: characters of a sentence for a task's author


# From the lane


@dataclass(frozen=True, kw_only=True)
class TakePlace:
    """Tell a process that was started, maybe long before, whose worker it is: until now it has touched no device."""

    device: Annotated[str, word]  #: torch's name of it
    visible_devices: Annotated[str, sentence()]  #: for CUDA_VISIBLE_DEVICES
    kept: Annotated[Path, path]  #: the copy of the folder of tasks, to be imported from
    services: Annotated[tuple[str, ...] | None, optional(each(word))]  #: that it may offer; ``None``: all
    memory_bytes: Annotated[int | None, optional(count)]  #: that networks and tickets may take; ``None``: all
    shared: Annotated[bool, flag]  #: other workers use the device as well


@dataclass(frozen=True, kw_only=True)
class KnownOffer:
    """Tell a starting worker a service as an earlier worker of the source offered and measured it."""

    service: Annotated[str, word]
    file: Annotated[str, sentence()]  #: the task's; empty: not known
    interface_hash: Annotated[str, word]
    version: Annotated[str, word]
    network_bytes: Annotated[int | None, optional(count)]
    peak_bytes: Annotated[int | None, optional(count)]
    load_seconds: Annotated[float | None, optional(seconds)]


@dataclass(frozen=True, kw_only=True)
class Begin:
    """Let a worker find, load and offer its tasks."""

    without: Annotated[tuple[str, ...], each(sentence())]  #: files and services that ended a worker while they loaded


@dataclass(frozen=True, kw_only=True)
class Reload:
    """Load changed files of tasks; the former tasks serve until the new ones have loaded."""

    copy: Annotated[Path, path]  #: of the folder of tasks, to be imported from now on
    files: Annotated[tuple[str, ...], each(sentence())]  #: relative to it


@dataclass(frozen=True, kw_only=True)
class Perform:
    """Read, perform and pack one claim of a ticket."""

    key: Annotated[str, claim_key]  #: ticket and claim, so that a late "give up" does not meet the next job
    service: Annotated[str, word]
    inputs: Annotated[Path, path]
    out: Annotated[Path, path]  #: an empty folder for the result
    source: Annotated[str, sentence()]  #: the compute source's name, for ``result.json``


@dataclass(frozen=True, kw_only=True)
class ReadAhead:
    """Read the inputs of a ticket that waits, and that is claimed next if nothing comes between."""

    service: Annotated[str, word]
    inputs: Annotated[Path, path]


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Let the inputs go that were read ahead."""


@dataclass(frozen=True, kw_only=True)
class MakeRoom:
    """Let all networks go between two tickets: another worker on the device needs the memory."""


@dataclass(frozen=True, kw_only=True)
class GiveUp:
    """Stop a ticket: its client has given it up."""

    key: Annotated[str, claim_key]


@dataclass(frozen=True, kw_only=True)
class ToEstimate:
    """A ticket whose task can say how long it will take."""

    ticket: Annotated[int, count]
    service: Annotated[str, word]
    inputs: Annotated[Path, path]


def to_estimate(value: object) -> ToEstimate:
    """Take a ``ToEstimate``, or the JSON of one."""
    return _part(value, ToEstimate)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Ask tasks how long their tickets will take."""

    tickets: Annotated[tuple[ToEstimate, ...], each(to_estimate)]


# From the worker, about itself


@dataclass(frozen=True, kw_only=True)
class DeviceUsable:
    """Tell that the device can be used, and that the worker waits for ``Begin``."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Tell that a task's file, or a network, is loaded from now on; if this never ends, nothing else can be done."""

    name: Annotated[str, sentence()]  #: the file's, or the service's
    deadline_seconds: Annotated[float | None, optional(seconds)] = None  #: as the task declares it


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """Tell that the loading has ended, well or not."""


@dataclass(frozen=True, kw_only=True)
class Offered:
    """Offer a service, with the measurements of its network that are known."""

    offer: Annotated[
        dict[str, Any],
        facts(
            {
                "service": word,
                "description": sentence(lines=True),
                "version": word,
                "interface": json_value,
                "deadline_seconds": seconds,
                "estimates": flag,
                "example": json_value,
                "file": sentence(),
                "trial": flag,
                "intended_use": sentence(),
                "licence": sentence(),
                "reference": sentence(),
                "contact": sentence(),
                "kind": sentence(),
                "weights_sha256": optional(word),
            }
        ),
    ]  #: ``tomaat.services.offer`` as JSON
    interface_hash: Annotated[str, word]
    network_bytes: Annotated[int | None, optional(count)]
    peak_bytes: Annotated[int | None, optional(count)]
    load_seconds: Annotated[float | None, optional(seconds)]
    warm: Annotated[int | None, optional(count)]  #: the network's place among the warm ones; ``None``: it is cold

    @property
    def service(self) -> str:
        """The service's name."""
        return str(self.offer["service"])


@dataclass(frozen=True, kw_only=True)
class NotOffered:
    """Tell why a task is not offered."""

    reason: Annotated[str, sentence(LONGEST_REASON, lines=True)]


@dataclass(frozen=True, kw_only=True)
class WorkerReady:
    """Tell that all tasks were looked at, so that no other service is offered."""


@dataclass(frozen=True, kw_only=True)
class Reloaded:
    """Tell that the changed files were looked at."""

    services: Annotated[tuple[str, ...], each(word)]  #: all that are offered now
    refused: Annotated[tuple[str, ...], each(sentence())]  #: files that failed, so that their former tasks stay


@dataclass(frozen=True, kw_only=True)
class DeviceUnusable:
    """Tell why the device cannot be used; the worker ends."""

    reason: Annotated[str, sentence()]


@dataclass(frozen=True, kw_only=True)
class DeviceBroken:
    """Tell that the device could be used and no longer can; the worker ends after the end of the present ticket."""

    reason: Annotated[str, sentence()]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Tell the new measurements of one service, and which networks are warm now."""

    service: Annotated[str, word]
    network_bytes: Annotated[int, count]
    peak_bytes: Annotated[int | None, optional(count)]  #: the most with a ticket running; ``None``: no ticket ran yet
    load_seconds: Annotated[float, seconds]
    warm: Annotated[tuple[str, ...], each(word)]  #: services, the least recently used first
    loading_seconds: Annotated[float, seconds]  #: that the ticket which performs has just waited for its network


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Tell how much of the device's memory the ticket that performs is expected to take, its network included."""

    service: Annotated[str, word]
    peak_bytes: Annotated[int, count]


@dataclass(frozen=True, kw_only=True)
class RoomMade:
    """Tell that all networks were let go."""


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Answer ``Estimate``; a task that cannot say gives ``None``."""

    seconds: Annotated[Mapping[int, float | None], by_id(optional(seconds))]  #: by ticket


# From the worker, about one job


@dataclass(frozen=True, kw_only=True)
class OfOneJob:
    """A message about one claim of one ticket."""

    key: Annotated[str, claim_key]


@dataclass(frozen=True, kw_only=True)
class Progress(OfOneJob):
    """Tell how far a job is; such a message may be lost."""

    fraction: Annotated[float, fraction]
    stage: Annotated[str, sentence(LONGEST_STAGE)]


@dataclass(frozen=True, kw_only=True)
class Performing(OfOneJob):
    """Tell that a job's inputs are read and its task begins."""


@dataclass(frozen=True, kw_only=True)
class Performed(OfOneJob):
    """Tell that a job's task has ended, so that the device is free; its result is packed from now on."""


@dataclass(frozen=True, kw_only=True)
class Packed(OfOneJob):
    """Tell that a job's result lies in its folder, to be sealed."""


@dataclass(frozen=True, kw_only=True)
class TicketRefused(OfOneJob):
    """Tell that the task, or the checks of its inputs, refused the ticket."""

    detail: Annotated[str, sentence()]
    errors: Annotated[tuple[dict[str, Any], ...], faults] = ()  #: each fault of the inputs
    now: Annotated[bool, flag] = False  #: for want of free memory: without its neighbours it may fit


@dataclass(frozen=True, kw_only=True)
class TaskCrashed(OfOneJob):
    """Tell that the task raised; the server's log has it under a reference."""

    error: Annotated[str, sentence(LONGEST_STAGE)]  #: the error's type
    told: Annotated[str | None, optional(sentence())] = None  #: our own sentence, without a task's value
    reference: Annotated[str, word]


@dataclass(frozen=True, kw_only=True)
class Outgrown(OfOneJob):
    """Tell that the ticket needs more memory than the device has."""

    needed_bytes: Annotated[int | None, optional(count)]  #: as measured or expected; ``None``: the device ran out
    total_bytes: Annotated[int | None, optional(count)]
    now: Annotated[bool, flag] = False  #: these are the free ones: without its neighbours it may fit


@dataclass(frozen=True, kw_only=True)
class TaskStopped(OfOneJob):
    """Tell that the task has stopped, as ``GiveUp`` asked."""


@dataclass(frozen=True, kw_only=True)
class DiskFull(OfOneJob):
    """Tell that the disk is too full for the result."""


NoResult = TicketRefused | TaskCrashed | Outgrown | TaskStopped | DiskFull
FromLane = TakePlace | KnownOffer | Begin | Reload | Perform | ReadAhead | Forget | MakeRoom | GiveUp | Estimate
FromWorker = (
    DeviceUsable
    | DeviceUnusable
    | DeviceBroken
    | Loading
    | Loaded
    | Offered
    | NotOffered
    | WorkerReady
    | Reloaded
    | Measured
    | Expected
    | RoomMade
    | Estimated
    | Progress
    | Performing
    | Performed
    | Packed
    | TicketRefused
    | TaskCrashed
    | Outgrown
    | TaskStopped
    | DiskFull
)

Heard = TypeVar("Heard")
Part = TypeVar("Part")
RULES: dict[type, dict[str, Rule]] = {
    kind: {name: hint.__metadata__[0] for name, hint in get_type_hints(kind, include_extras=True).items()}
    for kind in (*get_args(FromLane), *get_args(FromWorker), ToEstimate)
}
FROM_LANE: dict[str, type[FromLane]] = {kind.__name__: kind for kind in get_args(FromLane)}
FROM_WORKER: dict[str, type[FromWorker]] = {kind.__name__: kind for kind in get_args(FromWorker)}


def write(message: FromLane | FromWorker) -> bytes:
    """Make the JSON of a message. Raises ``MessageRefused`` for a value that the other side would refuse."""
    name = type(message).__name__
    try:
        values = checked(_values_of(message), RULES[type(message)])
    except MessageRefused as error:
        raise MessageRefused(f"{name}: {error}") from None
    return json.dumps({"is": name, **values}, default=_as_json).encode("ascii")


def read(data: bytes, kinds: Mapping[str, type[Heard]]) -> Heard:
    """Make the message again that ``write`` has written, if it is of one of these ``kinds``.

    Raises ``MessageRefused`` for anything else; its words quote nothing that was sent.
    """
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise MessageRefused("it is no JSON") from None
    name = said.pop("is", None) if isinstance(said, dict) else None
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise MessageRefused("it is no message of a known kind")
    try:
        return kind(**checked(said, RULES[kind]))
    except MessageRefused as error:
        raise MessageRefused(f"{name}: {error}") from None


def _part(value: object, kind: type[Part]) -> Part:
    """Take a part of a message, or the JSON of one."""
    values = _values_of(value) if isinstance(value, kind) else value
    if not isinstance(values, dict):
        raise MessageRefused("is no object")
    return kind(**checked(values, RULES[kind]))


def _values_of(message: object) -> dict[str, object]:
    return {field.name: getattr(message, field.name) for field in fields(type(message))}  # type: ignore[arg-type]


def _as_json(value: object) -> object:
    return _values_of(value) if is_dataclass(value) else str(value)
