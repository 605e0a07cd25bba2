"""The parts of a request that several views look at, and those that a log may name."""

from __future__ import annotations

from flask import request

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}


def route_of_request() -> str:
    """Name the route's template, never the path: a path holds a token."""
    return request.url_rule.rule if request.url_rule else "(none)"


def method_of_request() -> str:
    """Name the method, if it is one."""
    return request.method if request.method in METHODS else "(other)"


def prefers_a_page() -> bool:
    """Tell whether the client prefers HTML, as browsers do."""
    return request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html"


def content_length() -> int | None:
    """Read the length that the request claims."""
    claimed = request.headers.get("Content-Length", "")
    return int(claimed) if claimed.isdecimal() and claimed.isascii() else None


def bearer_token() -> str:
    """Read the token of ``Authorization: Bearer <token>``; an empty one where there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def client_address() -> str:
    """Name the client's address, as ``Connection`` found it; it is counted by, and never logged."""
    return request.remote_addr or ""
