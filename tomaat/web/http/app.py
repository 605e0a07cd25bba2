"""The Flask application: its routes, and the headers, log line and errors of every answer."""

from __future__ import annotations

import secrets
import time
from http import HTTPStatus
from typing import Protocol

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from tomaat.database import DatabaseUnavailable
from tomaat.processes.log import frames_of
from tomaat.web.http.problems import Problem, nothing_here, problem_response, retry_later, wrong_method
from tomaat.web.http.request import method_of_request, route_of_request
from tomaat.web.http.shapes import ShapeWriter

log = structlog.get_logger()

HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
PROBED = {"/metrics", "/health/live", "/health/ready"}  #: asked every few seconds
QUIET = {200, 503}  #: answers to these that are not worth a line; that health changed is one
ASKING = {"GET", "HEAD"}  #: methods that change nothing


class Views(Protocol):
    """Some routes of the application."""

    def register(self, app: Flask) -> None:
        """Give each view its route."""


def create_app(*views: Views) -> Flask:
    """Make the application around some views."""
    app = Flask("tomaat", static_folder=None)
    app.json = ShapeWriter(app)
    app.url_map.merge_slashes = False  # a redirect would repeat a token
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.before_request(_note_time)
    app.after_request(_finish)
    app.register_error_handler(Problem, _refuse)
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(DatabaseUnavailable, _database_problem)
    app.register_error_handler(Exception, _crash)
    for each in views:
        each.register(app)
    return app


def _note_time() -> None:
    g.began = time.monotonic()


def _finish(answer: Response) -> Response:
    """Add the headers, and log the route's template, never its path: a path holds a token."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    write = log.debug if _is_routine(answer) else log.info
    write(
        "request.answered",
        route=route_of_request(),
        method=method_of_request(),
        status=answer.status_code,
        milliseconds=round(1000 * (time.monotonic() - g.began), 1),
        **({"problem": g.problem} if "problem" in g else {}),
        **_ticket(),
    )
    return answer


def _is_routine(answer: Response) -> bool:
    """Tell whether an answer tells nobody anything: it is well, and what was done has a line of its own."""
    if route_of_request() in PROBED:
        return answer.status_code in QUIET
    return answer.status_code < HTTPStatus.BAD_REQUEST or g.get("problem") == "not-ready"


def _refuse(problem: Problem) -> Response:
    g.problem = problem.slug
    return problem_response(problem)


def _ticket() -> dict[str, int]:
    """Name the request's ticket in the log, where one was found."""
    return {"ticket": g.ticket} if "ticket" in g else {}


def _http_problem(error: HTTPException) -> Response:
    """Turn a refusal of Flask into a problem."""
    status = error.code or 500
    allow = error.get_response().headers.get("Allow")
    if status == 404:  # noqa: PLR2004 (Not Found)
        return _refuse(nothing_here())
    if status == 405:  # noqa: PLR2004 (Method Not Allowed)
        return _refuse(wrong_method(request.method, allow or ""))
    return _refuse(Problem(status, "invalid-request", error.name, error.description or error.name))


def _database_problem(error: DatabaseUnavailable) -> Response:
    log.warning("database.lost", reason=str(error), **_ticket())
    detail = "The server's database does not answer now."
    if request.method not in ASKING:
        detail = f"{detail[:-1]}; whether a request arrived is unknown: look, or send it again."
    return _refuse(retry_later(503, "unavailable", "Unavailable", detail, 5))


def _crash(error: Exception) -> Response:
    reference = secrets.token_hex(4)
    log.error("request.crashed", reference=reference, error=type(error).__name__, frames=frames_of(error), **_ticket())
    detail = f"The server made a mistake; its log has it as {reference}."
    return _refuse(Problem(500, "internal-error", "Internal error", detail))
