"""One connection to a client, as waitress holds it, with what waitress leaves to its users."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from tomaat.storage.disk import DISK_FULL
from tomaat.web.http.app import HEADERS
from tomaat.web.http.problems import Problem, invalid, problem_response, storage_full, too_large
from tomaat.web.http.waitress_parts import ErrorTask, HTTPChannel, HTTPRequestParser

log = structlog.get_logger()

HEADER_SECONDS = 20.0  #: within which a header comes
BODY_SECONDS = 20.0  #: in each of which as much of a body comes as the least rate asks for
LEAST_BYTES_PER_SECOND = 1000
IN_MEMORY_BYTES = 64 * 1024  #: larger bodies are spooled to the disk
LARGEST_CHUNK_LINE_BYTES = 1024  #: the line before each chunk of a body of unknown length
LARGEST_TRAILER_BYTES = 64 * 1024  #: the lines after its last chunk; as much as a header
CHUNKED_STEP_BYTES = 8 * 1024**2  #: reserved ahead for a body of unknown length
DRAIN_SECONDS = 30.0  #: how long the rest of a refused upload is read and forgotten
DRAIN_BYTES = 64 * 1024
MOST_SENT_BYTES = 256 * 1024  #: at once
TLS_HANDSHAKE = b"\x16\x03"  #: begins the first bytes of who expects https


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Reads one request of a connection, and no second one before the first is answered.

    ``before_body`` is called when the header is complete, before a byte of the body is kept. It returns how many bytes
    the body may have, ``None`` where that is told later, or raises a ``Problem`` to refuse the request. ``reserve`` is
    called before more bytes are spooled than were reserved.
    """

    error: Any = None
    expect_continue: bool = False
    largest_body_bytes: int | None = 0  #: ``None``: not told yet
    reserved_bytes: int = 0  #: of all spools
    held: bytes = b""  #: of the body, until it is told
    invites: bool = False  #: the client waits to be asked for the body

    def __init__(
        self, adj: Any, before_body: Callable[[Parser], int | None], reserve: Callable[[Parser, int], None]
    ) -> None:
        super().__init__(adj)
        self.before_body = before_body
        self.reserve = reserve

    @property
    def asks(self) -> bool:
        """Whether somebody has to tell how large the body may be."""
        return self.largest_body_bytes is None

    def received(self, data: bytes) -> int:
        """Take ``data``; return how much of it was used."""
        in_header = not self.headers_finished
        used: int = super().received(data)
        if self.headers_finished and not self.empty and self.error is None:
            try:
                if in_header:
                    self.largest_body_bytes = self.before_body(self)
                if self.chunked:
                    self._demand_short_lines()
                self._look()
            except Problem as problem:
                self.error = problem
                self.completed = True
        if self.asks and not self.completed:
            self.held = data[used:]
            self.invites, self.expect_continue = self.expect_continue, False
            return len(data)
        if not self.completed or self.empty:
            return used
        if self.error is not None:
            self.expect_continue = False  # nobody is invited to send what is refused already
        elif used < len(data):
            # A pipelined request would let a thread of the server sleep until a slow download before it was sent. It
            # is forgotten, and the connection closed after the answer, which tells the client to ask again.
            self.headers["CONNECTION"] = "close"
        return len(data)

    def let_in(self, largest_body_bytes: int) -> bytes:
        """Tell how large the body may be; return the part of it that came already. Raises ``Problem``."""
        self.largest_body_bytes = largest_body_bytes
        self._look()
        held, self.held = self.held, b""
        self.expect_continue = self.invites
        return held

    def _demand_short_lines(self) -> None:
        """Demand that the lines around the chunks end: waitress holds them in memory."""
        for what, held, largest_bytes in (
            ("line before a chunk", self.body_rcv.control_line, LARGEST_CHUNK_LINE_BYTES),
            ("trailer", self.body_rcv.trailer, LARGEST_TRAILER_BYTES),
        ):
            if len(held) > largest_bytes:
                raise invalid(f"The body's {what} has at most {largest_bytes} bytes; this one has more.")

    def _look(self) -> None:
        """Demand that the body fits the limit and the spools; chunked: as it comes, the chunk that has begun whole."""
        if self.largest_body_bytes is None:
            return
        body_bytes = max(self.content_length, self.body_bytes_received)
        if body_bytes + (self.body_rcv.chunk_remainder if self.chunked else 0) > self.largest_body_bytes:
            raise too_large(None, self.largest_body_bytes)
        if body_bytes > max(self.reserved_bytes, IN_MEMORY_BYTES):
            self.reserve(self, body_bytes + (CHUNKED_STEP_BYTES if self.chunked else 0))


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress has no types
    """Answers a request that never reached the application, in the form of all our problems."""

    def execute(self) -> None:
        """Write the answer."""
        self.channel.refused = True
        problem = self._problem()
        answer = problem_response(problem)
        log.info("request.refused", status=answer.status_code, problem=problem.slug)
        self.channel.server.note_refused(problem)
        body = answer.get_data()
        self.status = answer.status
        self.response_headers += [*answer.headers.items(), *HEADERS.items()]
        self.content_length = len(body)
        self.set_close_on_finish()
        self.write(body)

    def _problem(self) -> Problem:
        error = self.request.error
        if isinstance(error, Problem):
            return error
        slug = "internal-error" if error.code == 500 else "invalid-request"  # noqa: PLR2004 (Internal Server Error)
        return Problem(error.code, slug, error.reason, "This is no request that the server understands.")


class Connection(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """A connection whose client reads why its upload is refused, although it is still sending.

    Closing a socket with unread bytes resets the connection, and the answer is lost. So after a refusal only the
    sending side is closed; what still arrives is read and forgotten, for a while.
    """

    error_task_class = ProblemTask
    request: Any = None
    addr: Any
    will_close: bool = False
    close_when_flushed: bool = False
    refused = False
    drained_until: float | None = None
    sendbuf_len: int

    def __init__(self, *accepted: Any, **how: Any) -> None:
        self.parser_class = partial(Parser, before_body=self.before_body, reserve=self.reserve)
        super().__init__(*accepted, **how)
        # Of a file as much is read as the kernel might take (megabytes over loopback), however little it then takes.
        self.sendbuf_len = min(self.sendbuf_len, MOST_SENT_BYTES)
        self.peer: str = self.addr[0]
        self.header_since: float | None = time.monotonic()  #: began to send one, or connected
        self.body_since = 0.0  #: of the bytes below
        self.body_bytes = 0
        self.server.connections.enter(self)

    def before_body(self, request: Parser) -> int | None:
        """Look at a request whose header is complete; return how many bytes its body may have, if that is known.

        Raises ``Problem`` to refuse the request. The thread that serves all connections calls this: it must not wait.
        Where ``None`` is returned, nothing more is read of the connection until ``decide`` is called.
        """
        connections = self.server.connections
        self.header_since = None
        self.body_since, self.body_bytes = time.monotonic(), 0
        forwarded = request.headers.get("X_FORWARDED_FOR", "")
        self.addr = (connections.proxies.client_of(self.peer, forwarded), *self.addr[1:])
        largest: int | None = connections.gate.look(request)
        if largest is None:
            connections.ask(self, request)
        return largest

    def reserve(self, request: Parser, body_bytes: int) -> None:
        """Reserve room for a request's spool. Raises ``Problem`` where too much is spooled already."""
        self.server.connections.reserve(self, request, body_bytes)

    def decide(self, request: Parser, decision: int | Problem) -> None:
        """Go on with a request of which ``before_body`` could not tell."""
        if not self.waits_for(request):
            return
        if isinstance(decision, Problem):
            self.refuse(decision)
            return
        try:
            held = request.let_in(decision)
        except Problem as problem:
            self.refuse(problem)
            return
        self.body_since = time.monotonic()
        if request.expect_continue:
            self.send_continue()
        if held:
            self.received(held)

    def waits_for(self, request: Parser) -> bool:
        """Tell whether it is not decided yet how large this request's body may be; any thread may ask."""
        return request is self.request and request.asks and not self.will_close

    def client_has_left(self) -> bool:
        """Tell whether the client has closed, with nothing more to read; any thread may ask."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    @property
    def spooled_bytes(self) -> int:
        """The bytes that are reserved for its requests' spools."""
        return sum(each.reserved_bytes for each in (*self.requests, self.request) if each is not None)

    @property
    def busy(self) -> bool:
        """Whether a request is answered, or an answer not yet sent whole."""
        return bool(self.requests or self.total_outbufs_len) and self.drained_until is None

    @property
    def idle(self) -> bool:
        """Whether no header of a request is complete, and nothing is being sent."""
        unfinished = self.request is None or not self.request.headers_finished
        return unfinished and not (self.requests or self.total_outbufs_len)

    def look_at_time(self, now: float) -> str | None:
        """Close a connection of which a header or a body comes too slowly; return the reason, if it is one."""
        request = self.request
        if self.will_close or self.requests or self.drained_until is not None:
            return None
        if self.idle:
            if self.header_since is None or now - self.header_since < HEADER_SECONDS:
                return None
            self.will_close = True
            return "slow-header"
        if request is None or request.asks or now - self.body_since < BODY_SECONDS:
            return None
        came = request.body_bytes_received - self.body_bytes
        self.body_since, self.body_bytes = now, request.body_bytes_received
        if came >= BODY_SECONDS * LEAST_BYTES_PER_SECOND:
            return None
        rule = f"{came} bytes came within {BODY_SECONDS:g} s; at least {LEAST_BYTES_PER_SECOND} a second must come."
        self.refuse(Problem(408, "too-slow", "Too slow", f"The request's body: {rule}"))
        return "slow-body"

    def refuse(self, problem: Problem) -> None:
        """Answer the request that is being received, and keep nothing of it."""
        request, self.request = self.request, None
        with contextlib.suppress(OSError):
            request.close()
        request.body_rcv = None
        request.reserved_bytes = 0
        request.error = problem
        self.requests.append(request)
        self.server.add_task(self)

    def received(self, data: bytes) -> Any:
        """Take bytes; a full disk of the spool is the request's error, not the connection's."""
        if self.request is None and self.header_since is None:
            self.header_since = time.monotonic()
        if self.request is None and not self.requests and data.startswith(TLS_HANDSHAKE):
            self.request = self.parser_class(self.adj)  # no end of a header would come, and the client wait for it
            self.refuse(invalid("This server speaks http, not https; a TLS proxy may stand before it."))
            return True
        try:
            return super().received(data)
        except OSError as error:
            if error.errno not in DISK_FULL or self.request is None:
                raise
        self.refuse(storage_full())
        return True

    def service(self) -> None:
        """Answer a request, in a thread of the server."""
        try:
            super().service()
        finally:
            self.server.connections.leave_unpacking(self)

    def handle_close(self) -> None:
        """Close, and give up an upload that did not arrive whole."""
        super().handle_close()
        request, self.request = self.request, None
        if request is not None:
            with contextlib.suppress(OSError):  # its last bytes may not fit on the disk any more
                request.close()

    def readable(self) -> bool:
        """Tell the loop whether to wait for bytes."""
        asking = self.request is not None and self.request.asks
        return self.drained_until is not None or (not asking and super().readable())

    def writable(self) -> bool:
        """Tell the loop whether there is something to send, or to close."""
        return bool(self.will_close if self.drained_until is not None else super().writable())

    def handle_write(self) -> None:
        """Send; after a refusal close only this side."""
        if not (self.refused and self.close_when_flushed) or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and not self.will_close:
            self.close_when_flushed = False
            self.drained_until = time.monotonic() + DRAIN_SECONDS
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)

    def handle_read(self) -> None:
        """Receive; after a refusal forget it."""
        if self.drained_until is None:
            super().handle_read()
            return
        try:
            self.recv(DRAIN_BYTES)  # closes at the end
        except OSError:
            self.handle_close()
            return
        if time.monotonic() > self.drained_until:
            self.will_close = True
