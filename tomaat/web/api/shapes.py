"""Tickets, services and their inputs as clients read them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

from annotated_types import Ge, Le
from pydantic import with_config
from typing_extensions import NotRequired, TypedDict

from tomaat.tickets.lines import Outlook
from tomaat.tickets.priorities import Priority
from tomaat.tickets.states import State
from tomaat.tickets.ticket import Ticket, TicketId
from tomaat.tickets.ticket_store import OfferedService, ShortestQueue
from tomaat.web.http.problems import ProblemDetails


@dataclass(frozen=True, kw_only=True)
class Links:
    """The addresses of a ticket."""

    status: str
    result: str
    files: str
    cancel: str

    @classmethod
    def of(cls, ticket_id: int, token: str) -> Links:
        """Name the addresses; with the token in them, if there is one, as the seed's protocol has it."""
        reference = f"{ticket_id}&{token}" if token else str(ticket_id)
        return cls(
            status=f"/status/{reference}",
            result=f"/result/{reference}",
            files=f"/files/{reference}",
            cancel=f"/request/{reference}",
        )


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """A file that can be fetched by itself."""

    name: str
    bytes: int | None
    """Null: of a volume that was sent, which is made when it is asked for."""
    link: str

    @classmethod
    def of(cls, name: str, size: int | None, folder: str) -> FoundFile:
        """Describe a file below an address."""
        return cls(name=name, bytes=size, link=f"{folder}/{quote(name)}")


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a ticket, as long as they are kept."""

    result: list[FoundFile]
    """Of the result's archive; empty too where the archive has no index: one of an earlier version."""
    inputs: list[FoundFile]
    """The volumes that were sent, as the service reads them."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A new ticket."""

    id: TicketId
    token: str
    """The only copy: its holder sees the ticket."""
    service: str
    state: State
    links: Links

    @classmethod
    def of(cls, ticket: Ticket, token: str) -> Accepted:
        """Describe a new ticket, once with its token."""
        return cls(
            id=ticket.id,
            token=token,
            service=ticket.service,
            state=ticket.state,
            links=Links.of(ticket.id, token),
        )


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where a ticket stands. Times are RFC 3339, UTC."""

    id: TicketId
    label: str | None
    """Its client's own name for it; null too once its files are to be deleted."""
    service: str
    priority: Priority
    state: State
    position: int | None
    """Place in its queue; 1 is next."""
    compute_source: str | None
    progress: Annotated[float, Ge(0), Le(1)] | None
    stage: str | None
    """The task's own words for its present work."""
    claim: int
    """How often it was handed to a worker."""
    created: datetime
    started: datetime | None
    finished: datetime | None
    eta_seconds: float | None
    """Expected, until it has ended; null where no end can be expected."""
    why_waiting: str | None
    """Why no end can be expected, where that is known."""
    error: ProblemDetails | None
    """Why it failed."""
    links: Links

    @classmethod
    def of(cls, ticket: Ticket, outlook: Outlook, token: str) -> Status:
        """Describe a ticket; its links hold the token if there is one."""
        return cls(
            id=ticket.id,
            label=None if ticket.delete_requested or ticket.cancel_requested else ticket.label,
            service=ticket.service,
            priority=ticket.priority,
            state=ticket.state,
            position=outlook.position,
            compute_source=ticket.source,
            progress=ticket.progress,
            stage=ticket.stage,
            claim=ticket.claim,
            created=ticket.created,
            started=ticket.started,
            finished=ticket.finished,
            eta_seconds=None if outlook.eta_seconds is None else round(outlook.eta_seconds, 1),
            why_waiting=outlook.why_waiting,
            error=cast("ProblemDetails | None", ticket.error),
            links=Links.of(ticket.id, token),
        )


@with_config(title="Input", use_attribute_docstrings=True)
class DescribedInput(TypedDict):
    """An argument of a service; each type has rules of its own."""

    id: str
    name: str
    description: str
    type: Literal["volume", "float", "int", "str", "singlechoice", "boolean", "pointlist"]
    store: Literal["mainjson", "file"]
    """`mainjson`: a value in main.json. `file`: a file beside it."""
    required: bool
    default: Any
    minimum: NotRequired[float | None]
    """For numbers."""
    maximum: NotRequired[float | None]
    unit: NotRequired[str]
    """For numbers and points."""
    coordinates: NotRequired[Literal["LPS", "RAS"]]
    """For points."""
    fewest: NotRequired[int]
    most: NotRequired[int]
    choices: NotRequired[list[str]]
    """For a choice."""
    longest: NotRequired[int]
    """For a text, in characters."""
    extensions: NotRequired[list[str]]
    """For volumes: how the names of their files may end."""
    channels: NotRequired[int]
    modalities: NotRequired[list[str] | None]
    """For a DICOM series; null: any."""
    orientation: NotRequired[str | None]
    smallest_dimensions: NotRequired[list[int] | None]
    """In voxels along i, j, k."""
    largest_dimensions: NotRequired[list[int] | None]
    spacing_mm: NotRequired[list[float] | None]
    """The smallest and the largest."""
    resampled: NotRequired[bool]
    """False: a tilted or unevenly spaced series is refused. Else it is put on an even grid."""
    most_voxels: NotRequired[int | None]
    largest_voxel_bytes: NotRequired[int | None]


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service, its inputs, and how long its queue is."""

    name: str
    description: str
    version: str
    trial: bool
    """It is only to try the server with."""
    intended_use: str
    """For whom and for which images it is meant; as the next three, empty where its author says nothing."""
    licence: str
    reference: str
    contact: str
    kind: str
    """Of the network folder that it was made from, such as nnU-Net; empty for a task that somebody wrote."""
    weights_sha256: str | None
    """Of the network's file or folder; null where the task names none."""
    available: bool
    """A compute source that takes tickets offers it now."""
    why_unavailable: str | None
    """Why none does; null where one does."""
    memory_bytes: dict[str, Annotated[int, Ge(0)]]
    """The most that its tickets were measured to need, by compute source."""
    waiting: int | None
    """Tickets in the shortest queue that a new one may join; null where none is available."""
    wait_seconds: float | None
    """Expected, until a new ticket would be started."""
    takes_label: bool
    """Whether a ticket's label is kept here; where not, send none."""
    interface: dict[str, DescribedInput]
    """By the inputs' ids."""
    example: dict[str, Any]
    """Values by the inputs' ids, to try it with; may be empty. A volume has `file`, its address here, and `about`."""

    @classmethod
    def of(
        cls,
        offered: OfferedService,
        ahead: ShortestQueue | None,
        why: str | None,
        example: dict[str, Any],
        *,
        takes_label: bool,
    ) -> Service:
        """Describe a service, and the queue that a new ticket would join."""
        return cls(
            name=offered.name,
            description=offered.description,
            version=offered.version,
            trial=offered.trial,
            intended_use=offered.intended_use,
            licence=offered.licence,
            reference=offered.reference,
            contact=offered.contact,
            kind=offered.kind,
            weights_sha256=offered.weights_sha256,
            available=offered.available,
            why_unavailable=None if offered.available else why,
            memory_bytes=offered.memory_bytes,
            waiting=None if ahead is None else ahead.waiting,
            wait_seconds=None if ahead is None else round(ahead.wait_seconds, 1),
            takes_label=takes_label,
            interface=offered.interface,
            example=example,
        )


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The meaning of a kind of problem."""

    type: str
    explanation: str
