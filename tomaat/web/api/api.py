"""The routes of the protocol. Each view finds a ticket, asks a room, and describes the answer."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty
from threading import Event

import structlog
from flask import Flask, Response, g, request

from tomaat.access import Audit
from tomaat.archives import ArchiveLimits
from tomaat.storage import Storage, TicketFolder
from tomaat.tickets.actors import ANYBODY, HOLDER
from tomaat.tickets.lines import Outlook
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, RUNNING, STATES, SUCCEEDED, UNENDED
from tomaat.tickets.ticket import Ticket
from tomaat.tickets.ticket_store import READ_RESULT, TicketStore
from tomaat.web.api.examples import Examples
from tomaat.web.api.inputs_as_read import InputsAsRead
from tomaat.web.api.known_tickets import KnownTickets
from tomaat.web.api.openapi import describe_api
from tomaat.web.api.results import Content, file_of, files_of, no_such_file, result_of, send
from tomaat.web.api.sent_spans import SentSpans
from tomaat.web.api.shapes import Accepted, Explanation, Files, FoundFile, Service, Status
from tomaat.web.api.submission import Submission
from tomaat.web.api.tokens import find_ticket, shown
from tomaat.web.api.waiters import REMEMBERED_SECONDS, Waited, Waiters
from tomaat.web.http.access import HEADER as KEY_HEADER
from tomaat.web.http.access import Access
from tomaat.web.http.problems import EXPLANATIONS, Problem, invalid, retry_later, too_large
from tomaat.web.http.recent import Recent
from tomaat.web.http.request import client_address, content_length
from tomaat.web.http.shapes import answer

log = structlog.get_logger()

READ_INPUT = "read input"  #: as the audit trail calls it
RECENT_SECONDS = 1.0
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")  #: as JSON has them, not as Python reads them
CONDITIONS = ("Range", "If-Range", "If-Match", "If-None-Match")  #: of which an answer may be a part of it, or none
FORM_BYTES = 64 * 1024  #: most that a form may add around its payload


class Api:
    """The views of the protocol, and the rooms that they ask."""

    def __init__(
        self,
        store: TicketStore,
        storage: Storage,
        waiters: Waiters,
        access: Access,
        audit: Audit,
        *,
        examples: Examples,
        archive_limits: ArchiveLimits,
        largest_voxel_bytes: int,
        longest_wait_seconds: float,
        longest_queue: int,
        keep_labels: bool,
        still_loading: Callable[[], bool],
    ) -> None:
        self.store = store
        self.storage = storage
        self.waiters = waiters
        self.access = access
        self.audit = audit
        self.examples = examples
        self.largest_request_bytes = archive_limits.largest_upload_bytes + FORM_BYTES
        self.longest_wait_seconds = longest_wait_seconds
        self.longest_queue = longest_queue
        self.keep_labels = keep_labels
        self.sent_spans = SentSpans()
        self.known_tickets = KnownTickets(seconds=REMEMBERED_SECONDS / 2)
        self.services = Recent(store.offered_services, seconds=RECENT_SECONDS)
        self.submission = Submission(
            store,
            storage,
            archive_limits,
            largest_voxel_bytes=largest_voxel_bytes,
            keep_labels=keep_labels,
            offered=self.services,
            still_loading=still_loading,
        )
        self.as_read = InputsAsRead(largest_voxel_bytes=largest_voxel_bytes)
        self.ahead = Recent(store.ahead, seconds=RECENT_SECONDS)
        self.lines = Recent(store.lines, seconds=RECENT_SECONDS)
        self.waiting = Recent(store.count_waiting, seconds=RECENT_SECONDS)

    def register(self, app: Flask) -> None:
        """Give each view its route; a ticket's address with a slash in it gets the 404 of a wrong one."""
        app.add_url_rule("/request", view_func=self.submit, methods=["POST"])
        app.add_url_rule("/request/<path:reference>", view_func=self.cancel, methods=["DELETE"])
        app.add_url_rule("/status/<path:reference>", view_func=self.status)
        app.add_url_rule("/result/<path:reference>", view_func=self.result)
        app.add_url_rule("/result/<reference>/<path:name>", view_func=self.result_file)
        app.add_url_rule("/input/<reference>/<path:name>", view_func=self.input_file)
        app.add_url_rule("/files/<path:reference>", view_func=self.files)
        app.add_url_rule("/supportedservices", view_func=self.supported_services)
        app.add_url_rule("/examples/<name>", view_func=self.example)
        app.add_url_rule("/openapi.json", view_func=self.openapi)
        app.add_url_rule("/problems/<slug>", view_func=self.explain)

    def submit(self) -> Response:
        """Take a request and give a ticket; a refusal is noted in the audit trail, or counted where no key is shown."""
        g.who = ANYBODY
        try:
            return self._submit()
        except Problem as problem:
            if g.who == ANYBODY:
                self.audit.count(what="submit", outcome=problem.slug)
            else:
                self.audit.note(who=g.who, what="submit", outcome=problem.slug)
            raise

    def _submit(self) -> Response:
        key = self.access.admit(request.headers.get(KEY_HEADER), client_address())
        if key is not None:
            g.who = key.name
        claimed = content_length()
        if claimed is not None and claimed > self.largest_request_bytes:
            raise too_large(claimed, self.largest_request_bytes)
        if self.waiting.get() >= self.longest_queue:
            detail = f"{self.longest_queue} tickets wait already; try again later."
            raise retry_later(503, "queue-full", "Queue full", detail, 30)
        began = time.monotonic()
        ticket, token = self.submission.take(request, key, self.access.priorities(key))
        g.ticket = ticket.id
        self.known_tickets.add(ticket, began)
        accepted = Accepted.of(ticket, token)
        return answer(accepted, 202, Location=accepted.links.status, Retry_After="1")

    def status(self, reference: str) -> Response:
        """Tell where a ticket stands, at once or when it has left a state."""
        while_in = _state_asked_for()
        return self._describe(self._await(reference, while_in).ticket)

    def result(self, reference: str) -> Response:
        """Send the result, or say why there is none."""
        plain = request.method == "GET" and not any(name in request.headers for name in CONDITIONS)
        waited = self._await(reference, UNENDED, reads=plain)
        ticket = waited.ticket
        _demand_result(ticket)
        path = self.storage.result_of(ticket.folder, ticket.out)
        note_sent = partial(self._note_sent, ticket.id, ticket.result_bytes or 0)
        try:
            sent = send(request, result_of(ticket, path), note_sent)
        except FileNotFoundError:  # it expired between the two looks
            raise _expired(ticket) from None
        if not waited.noted:
            self._note_read(READ_RESULT, ticket, sent)
        return sent

    def result_file(self, reference: str, name: str) -> Response:
        """Send one file of the result; it does not count as fetching the result."""
        ticket = self._await(reference, UNENDED).ticket
        _demand_result(ticket)
        try:
            sent = send(request, file_of(ticket, self.storage.result_of(ticket.folder, ticket.out), name))
        except FileNotFoundError:
            raise _expired(ticket) from None
        self._note_read(READ_RESULT, ticket, sent)
        return sent

    def input_file(self, reference: str, name: str) -> Response:
        """Send a volume as the service read it, once it is made; before, ask the client to come again."""
        seconds = self._seconds_asked_for()
        ticket = self._find(reference)
        try:
            folder = self._input_of(ticket)
            names = self.as_read.names(folder)
            if name not in names:
                raise no_such_file("input", names)
            making = self.as_read.ask(folder, name)
            if making is not None:
                self._wait_for(making.done, seconds)
                if making.problem is not None:
                    raise replace(making.problem)  # others raise it, too
                if not making.done.is_set():
                    raise retry_later(409, "not-ready", "Not ready", "The volume is being read; ask again.")
            path = folder.read / name
            there = path.stat()
            etag = f"{there.st_mtime_ns:x}-{there.st_size:x}"
            sent = send(request, Content(name=name, size=there.st_size, etag=etag, open=lambda: path.open("rb")))
        except FileNotFoundError:
            raise _expired(ticket, "input") from None
        self._note_read(READ_INPUT, ticket, sent)
        return sent

    def files(self, reference: str) -> Response:
        """List the files that can be fetched one by one."""
        ticket = self._find(reference)
        result: list[FoundFile] = []
        inputs: list[FoundFile] = []
        with suppress(FileNotFoundError):
            if ticket.has_result:
                members = files_of(self.storage.result_of(ticket.folder, ticket.out))
                result = [FoundFile.of(member.name, member.size, f"/result/{reference}") for member in members]
        with suppress(FileNotFoundError):
            names = self.as_read.names(self._input_of(ticket))
            inputs = [FoundFile.of(name, None, f"/input/{reference}") for name in names]
        return answer(Files(result=result, inputs=inputs))

    def cancel(self, reference: str) -> Response:
        """Give a ticket up, in any state."""
        ticket = self.store.cancel(self._find(reference))
        log.info("ticket.given_up", ticket=ticket.id, state=ticket.state)
        still_to_do = ticket.state == RUNNING or (ticket.state != CANCELLED and not ticket.files_removed)
        return self._describe(ticket, 202 if still_to_do else 200)

    def supported_services(self) -> Response:
        """List the services with their inputs, and how long their queues are."""
        return answer(self._services())

    def openapi(self) -> Response:
        """Describe the API, services included."""
        return answer(describe_api(self._services(), longest_wait_seconds=self.longest_wait_seconds))

    def example(self, name: str) -> Response:
        """Send a volume to try a service with."""
        return self.examples.send(name, self.services.get())

    def explain(self, slug: str) -> Response:
        """Explain a kind of problem."""
        if slug not in EXPLANATIONS:
            raise Problem(404, "not-found", "Not found", "No problem of this server has this name.")
        return answer(Explanation(type=f"/problems/{slug}", explanation=EXPLANATIONS[slug]))

    def _services(self) -> list[Service]:
        ahead, lines = self.ahead.get(), self.lines.get()
        return [
            Service.of(
                service,
                ahead.get(service.interface_hash),
                lines.why_unavailable(service.interface_hash),
                self.examples.of(service),
                takes_label=self.keep_labels,
            )
            for service in self.services.get()
        ]

    def _note_sent(self, ticket_id: int, size: int, first: int, end: int) -> None:
        """Let the thread that may wait note, after an answer, which bytes of a result were sent."""
        self.waiters.do_later(partial(self._note_fetched, ticket_id, size, first, end))

    def _note_fetched(self, ticket_id: int, size: int, first: int, end: int) -> None:
        """Write down that a result was fetched, once all of its bytes were sent."""
        if self.sent_spans.complete(ticket_id, first, end, size):
            log.debug("ticket.fetched", ticket=ticket_id)
            self.waiters.note_fetched(ticket_id)

    def _note_read(self, what: str, ticket: Ticket, sent: Response) -> None:
        """Note in the audit trail that somebody read of a ticket's files."""
        if request.method == "GET" and sent.status_code in {200, 206}:
            self.audit.note(who=HOLDER, what=what, outcome=str(sent.status_code), ticket=ticket.id)

    def _input_of(self, ticket: Ticket) -> TicketFolder:
        """Find a ticket's input; raises ``FileNotFoundError`` where it is kept no longer, or its client gave it up."""
        if ticket.files_removed or ticket.delete_requested:
            raise FileNotFoundError
        return self.storage.folder_of(ticket.folder)

    def _wait_for(self, done: Event, seconds: float) -> None:
        """Wait, if there is a place for one more who waits."""
        try:
            self.waiters.places.get_nowait()
        except Empty:
            return
        try:
            done.wait(seconds)
        finally:
            self.waiters.places.put(None)

    def _find(self, reference: str) -> Ticket:
        ticket = find_ticket(self.store, reference)
        g.ticket = ticket.id
        return ticket

    def _await(self, reference: str, while_in: Collection[str], *, reads: bool = False) -> Waited:
        """Find a ticket, and wait as long as the client asks for, if there is a place; return it as it is then."""
        seconds = self._seconds_asked_for()
        wanted = shown(reference)
        known = self.known_tickets.find(wanted.ticket_id) if seconds else None
        if known is not None and known.ticket.state in while_in and wanted.opens(known.ticket):
            g.ticket = known.ticket.id
            waited = self.waiters.wait(known.ticket, while_in, seconds, since=known.at, reads=reads)
            return waited or Waited(ticket=self._find(reference))
        ticket = self._find(reference)
        waited = None
        if seconds and ticket.state in while_in:
            waited = self.waiters.wait(ticket, while_in, seconds, since=g.began, reads=reads)
        return waited or Waited(ticket=ticket)

    def _seconds_asked_for(self) -> float:
        text = request.args.get("wait", "0")
        seconds = float(text) if NUMBER.fullmatch(text) else math.nan
        if not 0 <= seconds <= self.longest_wait_seconds:
            raise invalid(f"wait: {text[:40]!r} is not between 0 and {self.longest_wait_seconds:g} seconds.")
        return seconds

    def _describe(self, ticket: Ticket, status: int = 200) -> Response:
        outlook = self.lines.get().outlook(ticket) if ticket.state in UNENDED else Outlook()
        described = Status.of(ticket, outlook, _token_in_path())
        again = {"Retry_After": "1"} if ticket.state in UNENDED else {}
        return answer(described, status, **again)


def _token_in_path() -> str:
    reference = str((request.view_args or {}).get("reference", ""))
    return reference.partition("&")[2]


def _state_asked_for() -> Collection[str]:
    state = request.args.get("state")
    if state is None:
        return UNENDED
    if state not in STATES:
        raise invalid(f"state: {state[:40]!r} is none of {', '.join(STATES)}.")
    return {state}


def _demand_result(ticket: Ticket) -> None:
    """Raise the problem of a ticket that has no result to fetch."""
    if ticket.has_result:
        return
    if ticket.state in {SUCCEEDED, EXPIRED}:
        raise _expired(ticket)
    if ticket.state == CANCELLED:
        raise Problem(409, "cancelled", "Cancelled", "The ticket was given up; there is no result.")
    if ticket.state == FAILED:
        error = ticket.error or {}
        slug = str(error.get("type", "/problems/task-crashed")).removeprefix("/problems/")
        title, detail = error.get("title", "Failed"), error.get("detail", "The ticket failed.")
        raise Problem(409, slug, title, detail, error.get("errors", []))
    raise retry_later(409, "not-ready", "Not ready", f"The ticket is {ticket.state}; its result is not there yet.")


def _expired(ticket: Ticket, what: str = "result") -> Problem:
    why = "was deleted at its client's wish" if ticket.delete_requested else "is no longer kept; send the request again"
    return Problem(410, "expired", "Expired", f"The {what} {why}.")
