"""``/metrics``, for Prometheus: the present state, read from the database, and events counted since this start."""

from __future__ import annotations

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from tomaat.database import DatabaseUnavailable
from tomaat.storage import Storage
from tomaat.tickets.problems import KINDS_OF_FAILURE
from tomaat.tickets.watch_store import EndedTicket, WatchStore
from tomaat.web.http.access import HEADER as KEY_HEADER
from tomaat.web.http.access import Access
from tomaat.web.http.problems import EXPLANATIONS, Problem
from tomaat.web.http.request import bearer_token, client_address, method_of_request, route_of_request
from tomaat.web.watch.ended_tickets import EndedTickets
from tomaat.web.watch.shared_counts import OwnFigures, share_counts
from tomaat.web.watch.world_collector import WorldCollector

LOOK_SECONDS = 5.0  #: between two looks
OUTCOMES = ("succeeded", "failed", "cancelled")
DATABASE_AWAY = "tomaat_database_up 0\n"  #: shown alone where an operator's key cannot be checked
OTHER = "other"  #: a label's value for all others than those that are known beforehand
SECONDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400)  #: of the histograms


class Metrics:
    """Counts the events, in this process or in the ``process`` of that number of several, and shows all figures.

    Labels are names of services, sources, routes and kinds of problems. None is a ticket, a key, a token, or made up by
    a client.
    """

    def __init__(self, store: WatchStore, storage: Storage, access: Access, *, process: int | None = None) -> None:
        self.access = access
        self.registry = CollectorRegistry()
        self.world = WorldCollector(store, storage)
        self.registry.register(self.world)
        self.process = process
        if process is None:
            counted = self.registry
            ProcessCollector(registry=self.registry)
        else:
            counted = share_counts(self.registry, process)
            self.own = OwnFigures(counted, process)
        self.requests = Counter(
            "tomaat_requests", "Requests answered.", ["route", "method", "status"], registry=counted
        )
        self.refusals = Counter("tomaat_refusals", "Requests refused.", ["problem"], registry=counted)
        self.ended = EndedTickets(store, self.note_ended)
        self.outcomes = Counter("tomaat_tickets_ended", "Tickets ended.", ["service", "outcome"], registry=counted)
        self.failed = Counter("tomaat_tickets_failed", "Tickets failed.", ["problem"], registry=counted)
        self.attempts = Counter(
            "tomaat_attempts_spent",
            "Attempts that tickets had spent on workers that died or were lost, when they ended.",
            ["service"],
            registry=counted,
        )
        self.waited = Histogram(
            "tomaat_ticket_wait_seconds",
            "From a ticket's submission to its last start, told when it ended.",
            ["service"],
            buckets=SECONDS,
            registry=counted,
        )
        self.ran = Histogram(
            "tomaat_ticket_run_seconds",
            "From a ticket's last start to its end, of those that succeeded.",
            ["service"],
            buckets=SECONDS,
            registry=counted,
        )
        for problem in (*EXPLANATIONS, OTHER):
            self.refusals.labels(problem)  # from 0 on: Prometheus sees no rise of a figure that begins later
        for problem in (*KINDS_OF_FAILURE, OTHER):
            self.failed.labels(problem)

    def look(self) -> None:
        """Count what nobody tells; one thread calls this every few seconds. Of several processes one counts endings."""
        if self.process is not None:
            self.own.look()
        if self.process in {None, 1}:
            self.ended.look()

    def register(self, app: Flask) -> None:
        """Give the view its route, and count the application's answers."""
        app.add_url_rule("/metrics", view_func=self.show)
        app.after_request(self._count)

    def show(self) -> Response:
        """Show all figures, to an operator where keys are needed."""
        try:
            if self.access.needed:
                self.access.demand_operator(request.headers.get(KEY_HEADER) or bearer_token(), client_address())
        except DatabaseUnavailable:  # which has the keys of operators
            return Response(DATABASE_AWAY, content_type=CONTENT_TYPE_PLAIN_0_0_4)
        for service in self.world.services():
            self._begin(service)
        return Response(generate_latest(self.registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    def note_ended(self, ticket: EndedTicket) -> None:
        """Count a ticket that ended."""
        self._begin(ticket.service)
        self.outcomes.labels(ticket.service, ticket.outcome).inc()
        self.attempts.labels(ticket.service).inc(ticket.attempts)
        if ticket.outcome == "failed":
            problem = (ticket.problem or "").removeprefix("/problems/")
            self.failed.labels(problem if problem in KINDS_OF_FAILURE else OTHER).inc()
        if ticket.wait_seconds is not None:
            self.waited.labels(ticket.service).observe(ticket.wait_seconds)
        if ticket.run_seconds is not None and ticket.outcome == "succeeded":
            self.ran.labels(ticket.service).observe(ticket.run_seconds)

    def note_refused(self, problem: Problem) -> None:
        """Count a request that the server refused before the application saw it."""
        self.requests.labels("(none)", "(other)", str(problem.status)).inc()
        self.refusals.labels(problem.slug if problem.slug in EXPLANATIONS else OTHER).inc()

    def _count(self, answer: Response) -> Response:
        self.requests.labels(route_of_request(), method_of_request(), str(answer.status_code)).inc()
        if "problem" in g:
            self.refusals.labels(g.problem if g.problem in EXPLANATIONS else OTHER).inc()
        return answer

    def _begin(self, service: str) -> None:
        """Let a service's figures be there from 0 on."""
        for outcome in OUTCOMES:
            self.outcomes.labels(service, outcome)
        for each in (self.attempts, self.waited, self.ran):
            each.labels(service)
