"""The operator's routes: see all sources and tickets, and act on them, with an operator's key."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar, get_type_hints

import structlog
from flask import Flask, Response, g, request

from tomaat.access.audit import Audit
from tomaat.access.key_store import ApiKey
from tomaat.storage import Storage, TicketFolder
from tomaat.tickets.operator_store import OperatorStore
from tomaat.tickets.states import CANCELLED, ENDED, RUNNING, WAITING
from tomaat.tickets.ticket import LARGEST_ID, Ticket
from tomaat.tickets.ticket_store import AgainRules, TicketStore
from tomaat.web.http.access import HEADER as KEY_HEADER
from tomaat.web.http.access import Access
from tomaat.web.http.problems import Problem, invalid, refused_where_disk_is_full, too_large
from tomaat.web.http.request import client_address, content_length, prefers_a_page
from tomaat.web.http.shapes import answer
from tomaat.web.operator.last_day import LastDay
from tomaat.web.operator.shapes import Drained, OfSource, OfTicket, Queues, RunAgain, Stopped, ToFront
from tomaat.web.page.documents import operators_page

log = structlog.get_logger()

LARGEST_BODY_BYTES = 16 * 1024

Body = TypeVar("Body")


class Operator:
    """The operator's views, and the rooms that they ask."""

    def __init__(
        self,
        sources: OperatorStore,
        store: TicketStore,
        storage: Storage,
        access: Access,
        audit: Audit,
        *,
        rules: AgainRules,
    ) -> None:
        self.sources = sources
        self.store = store
        self.storage = storage
        self.access = access
        self.audit = audit
        self.rules = rules
        self.last_day = LastDay(sources.ended)

    def register(self, app: Flask) -> None:
        """Give each view its route."""
        app.add_url_rule("/queues", view_func=self.queues)
        for act in (self.drain, self.resume, self.cancel, self.run_again, self.to_front):
            name = act.__name__.replace("_", "-")
            app.add_url_rule(
                f"/queues/{name}", endpoint=f"queues-{name}", view_func=self._acting(name, act), methods=["POST"]
            )

    def queues(self) -> Response:
        """Send the page to a client that prefers HTML, as browsers do: it asks for the key. The data need one."""
        if prefers_a_page():
            sent = operators_page()
        else:
            self.access.demand_operator(request.headers.get(KEY_HEADER), client_address())
            overview = self.sources.overview(rules=self.rules)
            tickets = self.sources.tickets(rules=self.rules, up_to=_up_to())
            hours = self.last_day.hours(overview.now)
            sent = answer(Queues.of(overview, hours, tickets, request.args.get("service")))
        sent.vary.add("Accept")
        return sent

    def drain(self, key: ApiKey) -> Response:
        """Let a source finish its tickets, and claim nothing more."""
        return self._set_drained(key, drained=True)

    def resume(self, key: ApiKey) -> Response:
        """Let a drained source claim again."""
        return self._set_drained(key, drained=False)

    def _set_drained(self, key: ApiKey, *, drained: bool) -> Response:
        source = _body(OfSource, "the name of a compute source").source
        change = self.sources.drain if drained else self.sources.resume
        if not source.isprintable() or not change(source, operator=key.name):
            raise Problem(404, "not-found", "Not found", "There is no compute source of this name.")
        log.info("source.drained" if drained else "source.resumed", source=source, by=key.name)
        return answer(Drained(source=source, drained=drained))

    def cancel(self, key: ApiKey) -> Response:
        """Give up a ticket that waits or runs."""
        ticket = self._ticket()
        if ticket.state not in ENDED:
            ticket = self.store.cancel(ticket, operator=key.name)
        if ticket.state in ENDED - {CANCELLED}:
            raise Problem(409, "ticket-ended", "Ticket ended", f"Ticket {ticket.id} has ended: it is {ticket.state}.")
        stopped = Stopped(id=ticket.id, state=ticket.state, cancel_requested=ticket.cancel_requested)
        return answer(stopped, 202 if ticket.state == RUNNING else 200)

    def to_front(self, key: ApiKey) -> Response:
        """Let a waiting ticket go before all others of its queue."""
        ticket = self._ticket()
        moved = self.store.move_to_front(ticket, operator=key.name)
        if moved is None:
            state = ticket.state if ticket.state not in WAITING else "no longer waiting"
            raise Problem(409, "ticket-started", "Ticket started", f"Ticket {ticket.id} does not wait: it is {state}.")
        log.info("ticket.moved_to_front", ticket=moved.id, by=key.name)
        return answer(ToFront(id=moved.id, state=moved.state, compute_source=moved.source))

    def run_again(self, key: ApiKey) -> Response:
        """Make a new ticket of an ended one's input."""
        ticket = self._ticket()
        if not self.store.can_run_again(ticket, rules=self.rules):
            raise _not_again(ticket)
        folder = self._copy_inputs(ticket)
        again = self.store.run_again(ticket, folder.name, operator=key.name, rules=self.rules)
        if again is None:
            self.storage.drop(folder)
            raise _not_again(ticket)
        log.info("ticket.run_again", ticket=again.id, again_of=ticket.id, by=key.name)
        return answer(RunAgain(id=again.id, again_of=ticket.id, service=again.service, state=again.state), 202)

    def _copy_inputs(self, ticket: Ticket) -> TicketFolder:
        try:
            with refused_where_disk_is_full(), self.storage.receiving() as folder:
                self.storage.copy_inputs(ticket.folder, folder)
        except FileNotFoundError:
            raise _not_again(ticket) from None
        return self.storage.folder_of(folder.name)

    def _ticket(self) -> Ticket:
        number = _body(OfTicket, "the id of a ticket").ticket
        ticket = self.store.find(number) if 1 <= number <= LARGEST_ID else None
        if ticket is None:
            raise Problem(404, "not-found", "Not found", "There is no ticket of this id.")
        g.ticket = ticket.id
        return ticket

    def _acting(self, name: str, act: Callable[[ApiKey], Response]) -> Callable[[], Response]:
        """Let an operator act. A refusal goes to the audit trail, where the stores write the acts themselves."""

        def view() -> Response:
            key = self.access.demand_operator(request.headers.get(KEY_HEADER), client_address())
            try:
                return act(key)
            except Problem as problem:
                self.audit.note(who=key.name, what=name.replace("-", " "), outcome=problem.slug, ticket=g.get("ticket"))
                raise

        return view


def _body(shape: type[Body], meant: str) -> Body:
    """Read a small JSON body that has one member."""
    ((name, kind),) = get_type_hints(shape).items()
    if request.mimetype != "application/json":
        raise Problem(415, "invalid-request", "Not JSON", "The content type must be application/json.")
    claimed = content_length()
    if claimed is not None and claimed > LARGEST_BODY_BYTES:
        raise too_large(claimed, LARGEST_BODY_BYTES)
    data = request.stream.read(LARGEST_BODY_BYTES + 1)
    if len(data) > LARGEST_BODY_BYTES:
        raise too_large(None, LARGEST_BODY_BYTES)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise invalid("The body cannot be read as JSON.") from error
    value = body[name] if isinstance(body, dict) and body.keys() == {name} else None
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # to JSON 1.0 is an integer, too
    if type(value) is not kind:
        raise invalid(f'Send {{"{name}": …}} with {meant}, and nothing else.')
    return shape(**{name: value})


def _up_to() -> int | None:
    text = request.args.get("up_to")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:20]) <= LARGEST_ID):
        raise invalid(f"up_to: {text[:40]!r} is no id of a ticket.")
    return int(text)


def _not_again(ticket: Ticket) -> Problem:
    if ticket.state not in ENDED:
        why = f"it is {ticket.state}; only what has ended is run again"
    elif ticket.files_removed or ticket.delete_requested:
        why = "its input is no longer kept"
    else:
        why = "its input is no longer kept, or its service takes other inputs by now"
    return Problem(409, "not-run-again", "Not run again", f"Ticket {ticket.id} cannot be run again: {why}.")
