"""Take one upload: receive its inputs, check them, make it durable, and only then make its ticket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from flask import Request

from Inputs import from_description
from tomaat.access.key_store import ApiKey
from tomaat.archives import ArchiveLimits, ArchiveRefused, ArchiveTooLarge, NotGzip, unpack
from tomaat.refusals import shown
from tomaat.services.payload import PayloadRefused, check_payload
from tomaat.storage import Storage, TicketFolder
from tomaat.tickets.ticket import Ticket
from tomaat.tickets.ticket_store import NewTicket, OfferedService, TicketStore
from tomaat.web.api.fields import Fields
from tomaat.web.api.form import LABEL, PRIORITY, Form
from tomaat.web.api.label import read_label
from tomaat.web.api.priority import read_priority
from tomaat.web.api.tokens import new_token
from tomaat.web.http.access import demand_service
from tomaat.web.http.problems import Problem, invalid, refused_where_disk_is_full, retry_later
from tomaat.web.http.recent import Recent

log = structlog.get_logger()

RETRY_SECONDS = 5  #: until a network may be loaded
MOST_NAMED = 20  #: services that a refusal names
MOST_VALUES = 200  #: fields of a form that are no files
LONGEST_IDEMPOTENCY_KEY = 255  #: characters


@dataclass(frozen=True, kw_only=True)
class Received:
    """What was sent, once its files lie in the ticket's folder."""

    service: OfferedService
    digest: bytes  #: SHA-256 of it
    field_faults: list[dict[str, Any]] | None = None  #: of a form with a field for each input
    links: dict[str, list[str]] = field(default_factory=dict)  #: that were left out of folders of images
    label: str | None = None
    priority: bytes | None = None  #: as it was sent


class Submission:
    """Takes ``POST /request`` from its first byte to the row."""

    def __init__(
        self,
        store: TicketStore,
        storage: Storage,
        limits: ArchiveLimits,
        *,
        largest_voxel_bytes: int,
        keep_labels: bool,
        offered: Recent[list[OfferedService]],
        still_loading: Callable[[], bool],
    ) -> None:
        self.store = store
        self.keep_labels = keep_labels
        self.offered = offered
        self.still_loading = still_loading
        self.storage = storage
        self.limits = limits
        self.largest_voxel_bytes = largest_voxel_bytes

    def take(self, request: Request, key: ApiKey | None, priorities: Sequence[str]) -> tuple[Ticket, str]:
        """Return the ticket and a token of it. Raises ``Problem``; then nothing of the upload is left.

        The ticket is new, unless the request repeats one by its ``Idempotency-Key``. It may ask for ``priorities``.
        """
        repeatable = idempotency_key(request.headers.get("Idempotency-Key"))
        form = Form(
            request.environ["wsgi.input"],
            request.headers.get("Content-Type", ""),
            most_parts=self.limits.most_members + MOST_VALUES,
        )
        with refused_where_disk_is_full(), self.storage.receiving() as folder:
            asked = partial(read_priority, key=key, allowed=priorities)
            received = self._receive(form, folder, partial(self._service, key), asked)
            priority = asked(received.priority)
            self._check(folder, received)
        token, token_hash = new_token()
        submission = NewTicket(
            token_hash=token_hash,
            service=received.service.name,
            interface_hash=received.service.interface_hash,
            folder=folder.name,
            key_name=None if key is None else key.name,
            idempotency_key=repeatable,
            payload_sha256=None if repeatable is None else received.digest,
            label=received.label if self.keep_labels else None,
            priority=priority,
        )
        return self._enter(submission), token

    def _service(self, key: ApiKey | None, name: str) -> OfferedService:
        """Return the service of this name if it is offered and the key may ask for it."""
        services = _by_name(self.offered.get())
        loading = False
        if name not in services:
            loading = self.still_loading()  # asked first, so that what has loaded since is found
            services = _by_name(self.offered.renew())
        if name in services:
            demand_service(key, name)
            return services[name]
        names = f"; offered are: {', '.join(list(services)[:MOST_NAMED])}." if services else "."
        if loading or not services:
            reason = "networks are still being loaded" if services else "no TaskScheduling has loaded any network"
            detail = f"service: {shown(name)} is not offered yet: {reason}{names}"
            raise retry_later(503, "not-offered-yet", "Not offered yet", detail, RETRY_SECONDS)
        raise Problem(404, "unknown-service", "Unknown service", f"service: {shown(name)} is not offered here{names}")

    def _receive(
        self,
        form: Form,
        folder: TicketFolder,
        permitted: Callable[[str], OfferedService],
        asked: Callable[[bytes | None], str],
    ) -> Received:
        """Receive the inputs.

        ``permitted`` is asked once: before anything is written, if the service is named before the inputs. So is the
        priority ``asked`` for. The field ``label``, or ``priority``, is an input's where the service has one of that
        id, and the inputs come as fields.
        """
        named = form.begin()
        service = None if named is None else permitted(named)
        if form.has_payload or (service is not None and PRIORITY not in service.interface):
            asked(form.own_text(PRIORITY))  # refused before anything is received, where it came by now
        if form.has_payload:
            return self._unpack(form, folder, service, permitted)
        fields = Fields(folder.inputs, self.limits)
        own: dict[str, bytes | None] = {}
        try:
            fields.receive(form.fields())
            service = service or permitted(form.service or "")
            for name in (LABEL, PRIORITY):
                sent = form.own_text(name)
                if name not in service.interface:
                    own[name] = sent
                elif sent is not None:
                    fields.add_text(name, sent)
            label = read_label(own.get(LABEL))
        except ArchiveRefused as error:
            raise _archive_problem(error) from error
        fields.write_main(service.interface)
        return Received(
            service=service,
            digest=fields.digest.digest(),
            field_faults=fields.faults,
            label=label,
            priority=own.get(PRIORITY),
        )

    def _unpack(
        self,
        form: Form,
        folder: TicketFolder,
        service: OfferedService | None,
        permitted: Callable[[str], OfferedService],
    ) -> Received:
        """Unpack the payload."""
        digest = hashlib.sha256()
        payload = _noting(form.payload(), digest.update)
        refusal: Problem | None = None
        links: dict[str, list[str]] = {}
        try:
            links = unpack(payload, folder.inputs, self.limits)
        except ArchiveRefused as error:
            refusal = _archive_problem(error)
        for _ in payload:  # the service may be named behind the payload
            pass
        service = service or permitted(form.service or "")
        if refusal is not None:
            raise refusal
        label, priority = read_label(form.own_text(LABEL)), form.own_text(PRIORITY)
        return Received(service=service, digest=digest.digest(), links=links, label=label, priority=priority)

    def _check(self, folder: TicketFolder, received: Received) -> None:
        """Demand that the service takes the inputs."""
        inputs = [from_description(description) for description in received.service.interface.values()]
        try:
            check_payload(
                folder.inputs,
                inputs,
                self.limits,
                largest_voxel_bytes=self.largest_voxel_bytes,
                field_faults=received.field_faults,
                links=received.links,
            )
        except PayloadRefused as error:
            raise _inputs_problem(error.errors, error.inputs) from error

    def _enter(self, submission: NewTicket) -> Ticket:
        """Make the ticket of durable files, or find the one that an earlier request made."""
        ticket = self.store.submit(submission)
        is_new = ticket.folder == submission.folder
        log.info("ticket.submitted" if is_new else "ticket.repeated", ticket=ticket.id, service=ticket.service)
        if is_new and ticket.source is not None:
            log.debug("ticket.queued", ticket=ticket.id, source=ticket.source)
        if not is_new:
            self.storage.drop(self.storage.folder_of(submission.folder))
            self._repeat(ticket, submission)
        return ticket

    def _repeat(self, ticket: Ticket, submission: NewTicket) -> None:
        """Give the ticket of an earlier request one more token, if this is the very same request."""
        if (ticket.service, ticket.payload_sha256) != (submission.service, submission.payload_sha256):
            detail = "Idempotency-Key: it was used for another payload or service; choose a new one for each request."
            raise Problem(422, "idempotency-key-reused", "Idempotency key reused", detail)
        self.store.add_token(ticket, submission.token_hash)


def idempotency_key(sent: str | None) -> str | None:
    """Check the client's own name for a request, where it sent one."""
    if sent is None:
        return None
    if not 1 <= len(sent) <= LONGEST_IDEMPOTENCY_KEY or not sent.isascii() or not sent.isprintable():
        raise invalid(f"Idempotency-Key: must be 1 to {LONGEST_IDEMPOTENCY_KEY} printable ASCII characters.")
    return sent


def _by_name(services: Iterable[OfferedService]) -> dict[str, OfferedService]:
    return {service.name: service for service in services}


def _noting(chunks: Iterator[bytes], note: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        note(chunk)
        yield chunk


def _archive_problem(error: ArchiveRefused) -> Problem:
    errors: list[dict[str, Any]] = [{"input": None, "code": error.code, "detail": error.detail}]
    if isinstance(error, NotGzip):
        return Problem(415, "not-gzip", "Not a .tar.gz", error.detail, errors)
    if isinstance(error, ArchiveTooLarge):
        return Problem(413, "too-large", "Too large", error.detail, errors)
    return Problem(400, "unreadable-archive", "The archive cannot be read", error.detail, errors)


def _inputs_problem(errors: list[dict[str, Any]], inputs: int) -> Problem:
    refused = {error["input"] for error in errors}
    if None in refused:
        detail = errors[0]["detail"] if len(errors) == 1 else f"{len(errors)} faults were found in the payload."
    else:
        detail = f"{len(refused)} of {inputs} inputs {'was' if len(refused) == 1 else 'were'} refused."
    return Problem(422, "invalid-inputs", "Invalid inputs", detail, errors)
