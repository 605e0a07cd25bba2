"""One request's life, as a row of ``tickets``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge, Le

from tomaat.database import Row
from tomaat.tickets.priorities import NORMAL
from tomaat.tickets.states import SUCCEEDED

LARGEST_ID = 2**63 - 1  #: of a bigint
TicketId: TypeAlias = Annotated[int, Ge(1), Le(LARGEST_ID)]
COLUMNS = (
    "id, token_hash, service, interface_hash, folder, state, source, claim, epoch, attempts, expected_seconds,"
    " cancel_requested, delete_requested, progress, stage, created, started, finished, error, result_sha256,"
    " result_bytes, files_removed, key_name, payload_sha256, later_token_hashes, queue_order, outgrown_bytes,"
    " claim_folder, label, priority"
)


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A copy of one row of ``tickets``, true at the moment when it was read."""

    id: int
    token_hash: bytes
    service: str
    interface_hash: str
    folder: str
    state: str
    source: str | None
    claim: int
    epoch: int | None
    attempts: int
    expected_seconds: float | None
    cancel_requested: bool
    delete_requested: bool
    progress: float | None
    stage: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: dict[str, Any] | None
    result_sha256: str | None
    result_bytes: int | None
    files_removed: bool
    key_name: str | None  #: of the API key that submitted it
    payload_sha256: bytes | None  #: only beside an idempotency key
    later_token_hashes: tuple[bytes, ...]
    queue_order: int  #: its place among those that wait
    outgrown_bytes: int | None  #: memory that it did not fit into
    claim_folder: str | None = None  #: of its present claim; ``None`` before the first, and of claims of older versions
    label: str | None = field(default=None, repr=False)  #: the client's own name for it, and perhaps a patient's
    priority: str = NORMAL

    @property
    def out(self) -> str:
        """The name of the folder into which only the worker of the present claim writes, below the ticket's."""
        return self.claim_folder or str(self.claim)

    @property
    def has_result(self) -> bool:
        """Whether its result can be fetched."""
        return self.state == SUCCEEDED and not self.delete_requested and not self.files_removed

    @property
    def token_hashes(self) -> tuple[bytes, ...]:
        """The hashes of all tokens of this ticket: the first, and those given to repetitions of its request."""
        return (self.token_hash, *self.later_token_hashes)

    @classmethod
    def of(cls, row: Row) -> Ticket:
        """Make a ticket of a row that holds at least ``COLUMNS``."""
        values = {name: getattr(row, name) for name in NAMES}
        values["token_hash"] = bytes(values["token_hash"])
        values["payload_sha256"] = None if values["payload_sha256"] is None else bytes(values["payload_sha256"])
        values["later_token_hashes"] = tuple(map(bytes, values["later_token_hashes"]))
        return cls(**values)


NAMES = tuple(each.name for each in fields(Ticket))
