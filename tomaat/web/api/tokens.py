"""Tokens: 32 random bytes for the client, their SHA-256 for the database; compared in constant time."""

from __future__ import annotations

import hmac
import re
import secrets

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


def find_ticket(store: TicketStore, reference: str) -> Ticket:
    """Find the ticket of ``<id>&<token>``, or of ``<id>`` with ``Authorization: Bearer <token>``.

    Raises the same ``not_found`` for a wrong id, a wrong token and an absent one; each costs one look-up.
    """
    id_text, ampersand, token = reference.partition("&")
    if not ampersand:
        token = bearer_token()
    number = int(id_text) if ID.fullmatch(id_text) else 0
    ticket = store.find(number if number <= LARGEST_ID else 0)
    shown = hash_of(token)
    fits = [hmac.compare_digest(each, shown) for each in (ticket.token_hashes if ticket is not None else (NOBODYS,))]
    if ticket is None or not any(fits):
        raise not_found()
    return ticket
