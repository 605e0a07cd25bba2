"""The page: one document for people with a browser, and the files that it loads. It speaks the public API alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, send_from_directory
from jinja2 import Environment, FileSystemLoader

from tomaat import __version__
from tomaat.web.http.request import prefers_a_page
from tomaat.web.http.shapes import answer

STATIC = Path(__file__).parent / "static"
VENDOR_SECONDS = 365 * 24 * 3600  #: how long a browser keeps a file with its version in its address
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",  # modules and NiiVue's bundle; no inline script, no eval, no WebAssembly
    "worker-src": "'self'",  # volumes are read, and drawn in 3D, beside the page
    "style-src": "'self'",  # no inline style: colours are set through the DOM, which needs no permission
    "img-src": "'self' blob:",  # blob: pictures out of a result
    "connect-src": "'self'",  # nothing reaches another host
    "base-uri": "'none'",
    "form-action": "'none'",  # forms are read by scripts
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",  # text never becomes markup
    "trusted-types": "workers",  # workers.js makes it, for two addresses alone
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{rule} {sources}" for rule, sources in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
}
WORKERS = "-worker.js"  #: the end of the names of programs beside the page, which keep to no policy but their own
WORKERS_POLICY = "default-src 'none'; script-src 'self'"  #: they are handed files, and ask for nothing but modules


TEMPLATES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)


@dataclass(frozen=True, kw_only=True)
class IndexLinks:
    """Where to go on."""

    services: str
    api: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """The links that a program finds at `/`."""

    name: str
    links: IndexLinks


class Page:
    """The page's own addresses."""

    def __init__(self, *, key_needed: bool, largest_request_bytes: int) -> None:
        self.key_needed = key_needed
        self.largest_request_bytes = largest_request_bytes

    def register(self, app: Flask) -> None:
        """Give each view its route; a browser asks for the page's files again with their ETag."""
        app.add_url_rule("/", view_func=self.index)
        app.add_url_rule("/static/<path:name>", view_func=_static)

    def index(self) -> Response:
        """Send the page to a client that prefers HTML, as browsers do, and links to all others."""
        if prefers_a_page():
            sent = _document("page.html", key_needed=self.key_needed, largest_request_bytes=self.largest_request_bytes)
        else:
            sent = answer(Index(name="TOMAAT", links=IndexLinks(services="/supportedservices", api="/openapi.json")))
        sent.vary.add("Accept")
        return sent


def operators_page() -> Response:
    """Send the operator's document: it holds nothing, and asks for a key."""
    return _document("queues.html")


def _document(name: str, **values: Any) -> Response:
    document = TEMPLATES.get_template(name).render(version=__version__, **values)
    return Response(document, headers=HEADERS, mimetype="text/html")


def _static(name: str) -> Response:
    max_age = VENDOR_SECONDS if name.startswith("vendor/") else None
    sent = send_from_directory(STATIC, name, max_age=max_age)
    if name.endswith(WORKERS):
        sent.headers["Content-Security-Policy"] = WORKERS_POLICY
    return sent
