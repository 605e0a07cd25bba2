"""Look at a request when its header is complete, before a byte of its body is kept.

::

    header ──▶ route ── an upload's ──▶ key ── was right before ────────▶ length ──▶ room for its spool ──▶ body
                 │ else: at most 64 KiB   │ never shown yet: a thread    │             │
                 ▼ 404, 405, 413          ▼ 401, 429 asks the database   ▼ 413         ▼ 503

Small bodies of all routes are let in: they are held in memory, and the application looks at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask
from werkzeug.exceptions import MethodNotAllowed, NotFound

from tomaat.access import Audit
from tomaat.web.http.access import Access
from tomaat.web.http.problems import Problem, nothing_here, too_large, wrong_method

SMALL_BODY_BYTES = 64 * 1024  #: held in memory, and not spooled
KEY_HEADER = "X_API_KEY"  #: as waitress has it
UPLOAD = ("POST", "/request")
UPLOAD_ACT = "submit"  #: its name in the audit trail

Looked = TypeVar("Looked")


class Gate:
    """Decides for each request how large its body may be; what it refuses is counted in the audit trail."""

    def __init__(self, app: Flask, access: Access, audit: Audit, *, largest_request_bytes: int) -> None:
        self.app = app
        self.proxies = access.proxies
        self.routes = app.url_map.bind("tomaat")
        self.access = access
        self.audit = audit
        self.largest_request_bytes = largest_request_bytes

    @staticmethod
    def is_upload(request: Any) -> bool:
        """Tell whether the request, of which the header is known, brings a payload to unpack."""
        return (request.command, request.path) == UPLOAD

    def look(self, request: Any) -> int | None:
        """Return how many bytes the body may have; ``None`` where the key has to be asked for first, with ``ask``.

        Raises ``Problem`` to refuse the request. Asks no database.
        """
        if not request.chunked and request.content_length <= SMALL_BODY_BYTES:
            return SMALL_BODY_BYTES
        if not self.is_upload(request):
            self._demand_route(request)
            return SMALL_BODY_BYTES
        return self._counting(self._look_at_upload, request)

    def ask(self, shown: str, address: str) -> int:
        """Demand that the key is right, and return how many bytes the body may have; the database is asked."""
        self._counting(self.access.find, shown, address)
        return self.largest_request_bytes

    def _look_at_upload(self, request: Any) -> int | None:
        if request.content_length > self.largest_request_bytes:
            raise too_large(request.content_length, self.largest_request_bytes)
        shown = request.headers.get(KEY_HEADER)
        self.access.demand_some(shown)
        return self.largest_request_bytes if not shown or self.access.was_right(shown) else None

    def _demand_route(self, request: Any) -> None:
        try:
            self.routes.match(request.path, request.command)
        except MethodNotAllowed as error:
            raise wrong_method(request.command, ", ".join(sorted(error.valid_methods or ()))) from None
        except NotFound:
            raise nothing_here() from None

    def _counting(self, look: Callable[..., Looked], *asked: Any) -> Looked:
        try:
            return look(*asked)
        except Problem as problem:
            self.audit.count(what=UPLOAD_ACT, outcome=problem.slug)
            raise
