"""The operator's addresses, as OpenAPI describes them."""

from __future__ import annotations

from dataclasses import dataclass

from tomaat.tickets.states import ENDED
from tomaat.tickets.ticket import LARGEST_ID
from tomaat.web.http.openapi import content_answer, operation, reference, shape_answer
from tomaat.web.http.shapes import Json
from tomaat.web.operator.shapes import Drained, OfSource, OfTicket, Queues, RunAgain, Stopped, ToFront

SHAPES = (Queues, OfSource, OfTicket, Drained, Stopped, RunAgain, ToFront)
SECURITY: list[Json] = [{"key": []}]  #: of an operator, also where no other key is needed
PARAMETERS = [
    {
        "name": "service",
        "in": "query",
        "description": "Sum up the hours of this service only.",
        "schema": {"type": "string"},
    },
    {
        "name": "up_to",
        "in": "query",
        "description": "List the tickets from this id downward.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_ID},
    },
]


@dataclass(frozen=True, kw_only=True)
class Act:
    """One thing that an operator does."""

    name: str
    summary: str
    body: type
    answer: type
    statuses: tuple[int, ...]


ACTS = (
    Act(
        name="drain",
        summary="Let a compute source finish its running tickets and claim nothing more.",
        body=OfSource,
        answer=Drained,
        statuses=(200,),
    ),
    Act(
        name="resume",
        summary="Let a drained compute source claim again.",
        body=OfSource,
        answer=Drained,
        statuses=(200,),
    ),
    Act(
        name="cancel",
        summary="Give up a ticket that waits or runs; its input is kept, to be run again.",
        body=OfTicket,
        answer=Stopped,
        statuses=(200, 202),
    ),
    Act(
        name="run-again",
        summary=f"Make a new ticket of the kept input of one that is {', '.join(sorted(ENDED))}; the old one's token "
        "opens it.",
        body=OfTicket,
        answer=RunAgain,
        statuses=(202,),
    ),
    Act(
        name="to-front",
        summary="Let a waiting ticket go before all others of its queue, whatever their priorities.",
        body=OfTicket,
        answer=ToFront,
        statuses=(200,),
    ),
)


def paths() -> Json:
    """Describe the addresses."""
    content = {"application/json": reference("Queues"), "text/html": {"type": "string"}}
    queues = operation(
        "queues",
        "All compute sources and tickets, for operators.",
        {200: content_answer("Sources and tickets; for people the page, which needs no key.", content)},
        *(400, 401, 403, 429),
        parameters=PARAMETERS,
        security=SECURITY,
    )
    return {"/queues": {"get": queues}, **{f"/queues/{act.name}": {"post": _describe(act)} for act in ACTS}}


def _describe(act: Act) -> Json:
    body = {"application/json": {"schema": reference(act.body.__name__)}}
    return operation(
        f"queues-{act.name}",
        act.summary,
        {status: shape_answer(act.summary, act.answer) for status in act.statuses},
        *(400, 401, 403, 404, 409, 413, 415, 429, 507),
        security=SECURITY,
        requestBody={"required": True, "content": body},
    )
