"""The page: one document for people with a browser, and the files that it loads. It speaks the public API alone."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Response, render_template, send_from_directory

from tomaat import __version__

STATIC = Path(__file__).parent / "static"
VENDOR_SECONDS = 365 * 24 * 3600  #: how long a browser keeps what has its version in its address
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",  # modules and NiiVue's bundle; no inline script, no eval, no WebAssembly, no worker
    "style-src": "'self'",  # no inline style: colours are set through the DOM, which needs no permission
    "img-src": "'self' blob: data:",  # blob: pictures out of a result; data: NiiVue's own letters and its shading
    "connect-src": "'self'",  # nothing reaches another host
    "base-uri": "'none'",
    "form-action": "'none'",  # forms are read by scripts
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",  # text never becomes markup
    "trusted-types": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{rule} {sources}" for rule, sources in POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
}


def page(*, key_needed: bool, largest_request_bytes: int) -> Response:
    """Give the document; the services, tickets and results in it come from the API."""
    document = render_template(
        "page.html", version=__version__, key_needed=key_needed, largest_request_bytes=largest_request_bytes
    )
    return Response(document, headers=HEADERS, mimetype="text/html")


def operators_page() -> Response:
    """Give the operator's document: it holds nothing, and asks for a key."""
    return Response(render_template("queues.html", version=__version__), headers=HEADERS, mimetype="text/html")


def register_static(app: Flask) -> None:
    """Serve the page's files, which a browser asks for again with their ETag."""
    app.add_url_rule("/static/<path:name>", view_func=_static)


def _static(name: str) -> Response:
    max_age = VENDOR_SECONDS if name.startswith("vendor/") else None
    return send_from_directory(STATIC, name, max_age=max_age)
