"""The Flask application: the routes, and what every answer has in common."""

from __future__ import annotations

import secrets
import time

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from tomaat.database import DatabaseUnavailable
from tomaat.log import frames_of
from tomaat.web.Api import Api
from tomaat.web.Operator import Operator
from tomaat.web.page import register_static
from tomaat.web.problems import Problem, problem_response, retry_later

log = structlog.get_logger()

HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"}


def create_app(api: Api, operator: Operator) -> Flask:
    """Make the application around the views of ``api``, and of ``operator`` for those who run the service."""
    app = Flask("tomaat", static_folder=None, template_folder="web/templates")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    app.url_map.merge_slashes = False  # a redirect would repeat a token
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.before_request(_note_time)
    app.after_request(_finish)
    app.register_error_handler(Problem, problem_response)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(DatabaseUnavailable, _database_problem)
    app.register_error_handler(Exception, _crash)
    api.register(app)
    operator.register(app)
    register_static(app)
    return app


def _note_time() -> None:
    g.began = time.monotonic()


def _finish(answer: Response) -> Response:
    """Add the headers, and log the route's template, never its path: a path holds a token."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    log.info(
        "request.answered",
        route=request.url_rule.rule if request.url_rule else "(none)",
        method=request.method if request.method in METHODS else "(other)",
        status=answer.status_code,
        milliseconds=round(1000 * (time.monotonic() - g.began), 1),
        **({"ticket": g.ticket} if "ticket" in g else {}),
    )
    return answer


def _http_problem(error: HTTPException) -> Response:
    """Say in our form what Flask refused."""
    status = error.code or 500
    allow = error.get_response().headers.get("Allow")
    if status == 404:  # noqa: PLR2004 (Not Found)
        return problem_response(Problem(404, "not-found", "Not found", "There is nothing at this address."))
    if status == 405:  # noqa: PLR2004 (Method Not Allowed)
        detail = f"This address does not take {request.method[:20]}; it takes {allow}."
        headers = {"Allow": allow or ""}
        return problem_response(Problem(405, "method-not-allowed", "Method not allowed", detail, headers=headers))
    return problem_response(Problem(status, "invalid-request", error.name, error.description or error.name))


def _database_problem(error: DatabaseUnavailable) -> Response:
    log.warning("database.lost", reason=str(error))
    detail = "The server's database does not answer now; whether a request arrived is unknown: look, or send it again."
    return problem_response(retry_later(503, "unavailable", "Unavailable", detail, 5))


def _crash(error: Exception) -> Response:
    reference = secrets.token_hex(4)
    log.error("request.crashed", reference=reference, error=type(error).__name__, frames=frames_of(error))
    detail = f"The server made a mistake; its log has it as {reference}."
    return problem_response(Problem(500, "internal-error", "Internal error", detail))
