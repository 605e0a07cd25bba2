"""Tokens: 32 random bytes for the client, their SHA-256 for the database; compared in constant time."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass

from tomaat.access.hashing import hash_of
from tomaat.tickets.ticket import LARGEST_ID, Ticket
from tomaat.tickets.ticket_store import TicketStore
from tomaat.web.http.problems import not_found
from tomaat.web.http.request import bearer_token

TOKEN_BYTES = 32
ID = re.compile(r"[1-9][0-9]{0,18}")
NOBODYS = b"\0" * 32  #: no token has this hash


def new_token() -> tuple[str, bytes]:
    """Make a token and the hash that is stored of it."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return token, hash_of(token)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A ticket's id and token, as a client shows them; no ticket has the id 0."""

    ticket_id: int
    token_hash: bytes

    def opens(self, ticket: Ticket | None) -> bool:
        """Tell whether this is the id and a token of a ticket."""
        hashes = (NOBODYS,) if ticket is None else ticket.token_hashes
        fits = [hmac.compare_digest(each, self.token_hash) for each in hashes]
        return ticket is not None and ticket.id == self.ticket_id and any(fits)


def shown(reference: str) -> Shown:
    """Read ``<id>&<token>``, or ``<id>`` with ``Authorization: Bearer <token>``."""
    id_text, ampersand, token = reference.partition("&")
    if not ampersand:
        token = bearer_token()
    number = int(id_text) if ID.fullmatch(id_text) else 0
    return Shown(ticket_id=number if number <= LARGEST_ID else 0, token_hash=hash_of(token))


def find_ticket(store: TicketStore, reference: str) -> Ticket:
    """Find the ticket whose id and token a client shows.

    Raises the same ``not_found`` for a wrong id, a wrong token and an absent one; each costs one look-up.
    """
    wanted = shown(reference)
    ticket = store.find(wanted.ticket_id)
    if ticket is None or not wanted.opens(ticket):
        raise not_found()
    return ticket
