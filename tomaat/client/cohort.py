"""Requests under way together, each in a folder of its own; no work of an earlier run is done again."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tomaat.client.client import Client
from tomaat.client.display import Display
from tomaat.client.errors import ClientError, NotAllowed, NotFound, NotReady, Refused, Unreachable, Unusable
from tomaat.client.payload import Payload
from tomaat.client.place import Place
from tomaat.client.result import Result
from tomaat.client.step import WAITING, Step
from tomaat.client.ticket import ENDED, SHORT_WAIT_SECONDS, Ticket, demand_success
from tomaat.client.troubles import slug_of

T = TypeVar("T")

FOR_ALL = (Unreachable, NotAllowed)  #: would befall every other request, too


@dataclass
class Errand:
    """One request: its payload, the folder of its result, and how it stands."""

    name: str  #: tells it from the others; empty where it is the only one
    place: Place
    payload: Payload | None = None  #: nothing where a ticket of earlier is only followed
    state: str = "unsent"  #: or the server's word
    skipped: bool = False  #: whether it was done before
    error: ClientError | None = None
    result: Result | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of the command line for it."""
        return 0 if self.error is None else self.error.exit_code


class Cohort:
    """Does errands, a bounded number of them at once; ``on_end`` hears of each when nothing more is done for it.

    An error of one errand only (its ticket failed, its inputs were refused) is noted in it, and the others go on. An
    error that would befall all is raised: ``Unreachable``, ``NotAllowed``, ``OSError``. Their folders know how to go
    on.
    """

    def __init__(
        self,
        client: Client,
        display: Display,
        on_end: Callable[[Errand], object],
        *,
        at_once: int = 1,
        again: bool = False,
        delete: bool = False,
    ) -> None:
        self.client = client
        self.display = display
        self.on_end = on_end
        self.at_once = at_once
        self.again = again
        self.delete = delete
        self.total = self.ended = self.failed = 0

    def run(self, errands: Sequence[Errand]) -> None:
        """Send, follow and fetch."""
        self.total = len(errands)
        ahead = deque(errands)
        under_way: list[tuple[Errand, Ticket]] = []
        while ahead or under_way:
            while ahead and len(under_way) < self.at_once:
                errand = ahead.popleft()
                ticket = self._try(errand, self._start)
                if ticket is None:
                    self._end(errand)
                else:
                    under_way.append((errand, ticket))
            for number, (errand, ticket) in enumerate(list(under_way)):
                wait = SHORT_WAIT_SECONDS if number == 0 else 0.0  # the oldest one's end is the likeliest
                self._try(errand, self._follow, ticket, wait)
                if errand.error is not None or errand.result is not None:
                    under_way.remove((errand, ticket))
                    self._end(errand)

    def submit(self, errands: Sequence[Errand]) -> None:
        """Send the requests that were not sent yet, and wait for none."""
        self.total = len(errands)
        for errand in errands:
            self._try(errand, self._start)
            self._end(errand)

    def fetch(self, errands: Sequence[Errand]) -> None:
        """Fetch the results of tickets that succeeded, and wait for none."""
        self.total = len(errands)
        for errand in errands:
            ticket = self._try(errand, self._start)
            if ticket is not None:
                self._try(errand, self._fetch_ended, ticket)
            self._end(errand)

    def _try(self, errand: Errand, step: Callable[..., T], *arguments: Any) -> T | None:
        """Do a step of an errand; an error of this one only is noted in it."""
        try:
            return step(errand, *arguments)
        except FOR_ALL:
            raise
        except ClientError as error:
            errand.error = error
            self.failed += 1
            return None

    def _end(self, errand: Errand) -> None:
        self.ended += 1
        self.display.clear()
        self.on_end(errand)

    def _start(self, errand: Errand) -> Ticket | None:
        """Return an errand's ticket, and send its request first if needed; ``None`` where it has ended already."""
        return self._known(errand) if errand.payload is None else self._known_or_new(errand, errand.payload)

    def _known(self, errand: Errand) -> Ticket | None:
        """Go on from the note in the folder, without the inputs at hand."""
        folder, note = errand.place.folder, errand.place.note()
        if note is None:
            raise NotFound(f"{folder} holds no ticket.")
        if note["fetched"]:
            if not self._is_done(errand, note):
                raise NotFound(f"{folder} held a result, and no longer holds all of it.")
            return None
        if note["id"] is None:
            raise Unusable(f"{folder}: its request was not sent completely; give that command again.")
        return self.client.ticket(note["id"], note["token"])

    def _known_or_new(self, errand: Errand, payload: Payload) -> Ticket | None:
        """Go on from the note in the folder if it is of this very request, or begin."""
        place, note, digests = errand.place, errand.place.note(), payload.digests()
        same = note is not None and (note["service"], note["inputs"]) == (payload.service, digests)
        if note is None:
            place.demand_empty()
        elif note["fetched"]:
            if not same and not self.again:
                raise Unusable(f"{place.folder} holds another request's result; choose another folder, or say --again.")
            if not self.again and self._is_done(errand, note):
                return None
        elif note["id"] is not None:
            ticket = self._under_way(errand, note, same=same)
            if ticket is not None:
                return ticket
        elif same and note["url"] == self.client.url:
            return self._send(errand, payload, note)  # it may have arrived, and its answer been lost
        return self._send(errand, payload, place.begin(self.client.url, payload.service, digests, payload.label))

    def _under_way(self, errand: Errand, note: dict[str, Any], *, same: bool) -> Ticket | None:
        """Return the ticket of an earlier run if it is of the same request and may still bring a result."""
        folder = errand.place.folder
        if note["url"] != self.client.url:
            raise Unusable(f"{folder} is under way at {note['url']}; give that address by --url.")
        ticket = self.client.ticket(note["id"], note["token"])
        with contextlib.suppress(NotFound):
            errand.state = ticket.status()["state"]
        if errand.state in {"unsent", *ENDED} and errand.state != "succeeded":
            return None
        if same:
            return ticket
        errand.state = "unsent"
        if not self.again:
            raise Unusable(f"In {folder} another request is under way; choose another folder, or say --again.")
        ticket.cancel()
        return None

    def _is_done(self, errand: Errand, note: dict[str, Any]) -> bool:
        """Take the result that is in the folder, if it is whole; delete it at the server if that is still to do."""
        errand.result = errand.place.result()
        if errand.result is None:
            return False
        errand.state, errand.skipped = "succeeded", True
        if note["token"]:
            self._delete(errand, note, self.client.ticket(note["id"], note["token"]))
        return True

    def _delete(self, errand: Errand, note: dict[str, Any], ticket: Ticket) -> None:
        ticket.delete()
        errand.place.keep({**note, "token": None})

    def _send(self, errand: Errand, payload: Payload, note: dict[str, Any]) -> Ticket:
        def show(step: Step) -> None:
            self._show(errand, step)

        try:
            ticket = self.client.send(payload, idempotency_key=note["idempotency_key"], on_step=show)
        except Refused as refusal:
            errand.place.forget()
            if slug_of(refusal.problem) != "idempotency-key-reused":
                raise
            note = errand.place.begin(note["url"], note["service"], note["inputs"], payload.label)  # another zlib
            ticket = self.client.send(payload, idempotency_key=note["idempotency_key"], on_step=show)
        errand.place.keep({**note, "id": ticket.id, "token": ticket.token})
        errand.state = "submitted"
        show(Step(WAITING))
        return ticket

    def _follow(self, errand: Errand, ticket: Ticket, wait: float) -> None:
        status = ticket.status(wait)
        errand.state = status["state"]
        if errand.state in ENDED:
            demand_success(status)
            self._fetch(errand, ticket)
        elif wait:
            self._show(errand, ticket.step(status))

    def _fetch_ended(self, errand: Errand, ticket: Ticket) -> None:
        self._follow(errand, ticket, 0.0)
        if errand.result is None:
            raise NotReady(f"Ticket {ticket.id} is {errand.state}, and has not ended yet.")

    def _fetch(self, errand: Errand, ticket: Ticket) -> None:
        result = ticket.fetch(errand.place.folder, replace=True, on_step=lambda step: self._show(errand, step))
        errand.state, errand.result = "succeeded", result
        note = {**(errand.place.note() or {}), "fetched": True}
        errand.place.keep(note if self.delete else {**note, "token": None})
        if self.delete:
            self._delete(errand, note, ticket)

    def _show(self, errand: Errand, step: Step) -> None:
        if self.total == 1:
            self.display.show("", step)
        elif self.display.terminal:  # elsewhere the lines of those that ended are enough
            failed = f", {self.failed} failed" if self.failed else ""
            self.display.show(f"{self.ended} of {self.total} ended{failed}; {errand.name}: ", step)
