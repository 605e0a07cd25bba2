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
from tomaat.web.http.problems import Problem, problem_response, storage_full, too_large
from tomaat.web.http.waitress_parts import ErrorTask, HTTPChannel, HTTPRequestParser

log = structlog.get_logger()

DRAIN_SECONDS = 30.0  #: how long the rest of a refused upload is read and forgotten
DRAIN_BYTES = 64 * 1024
MOST_SENT_BYTES = 256 * 1024  #: at once


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress has no types
    """Reads one request of a connection, and no second one before the first is answered.

    ``before_body`` is called when the header is complete, before a byte of the body is kept. It returns how many bytes
    the body may have, or raises a ``Problem`` to refuse the request.
    """

    error: Any = None
    largest_body_bytes: int = 0

    def __init__(self, adj: Any, before_body: Callable[[Parser], int]) -> None:
        super().__init__(adj)
        self.before_body = before_body

    def received(self, data: bytes) -> int:
        """Take ``data``; return how much of it was used."""
        in_header = not self.headers_finished
        used: int = super().received(data)
        if self.headers_finished and not self.empty and self.error is None:
            try:
                self._look(in_header=in_header)
            except Problem as problem:
                self.error = problem
                self.completed = True
        if not self.completed or self.empty:
            return used
        if self.error is not None:
            self.expect_continue = False  # nobody is invited to send what is refused already
        elif used < len(data):
            # A pipelined request would let a thread of the server sleep until a slow download before it was sent. It
            # is forgotten, and the connection closed after the answer, which tells the client to ask again.
            self.headers["CONNECTION"] = "close"
        return len(data)

    def _look(self, *, in_header: bool) -> None:
        if in_header:
            self.largest_body_bytes = self.before_body(self)
        if max(self.content_length, self.body_bytes_received) > self.largest_body_bytes:  # chunked: as it comes
            raise too_large(None, self.largest_body_bytes)


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
    close_when_flushed: bool = False
    refused = False
    drained_until: float | None = None
    sendbuf_len: int

    def __init__(self, *accepted: Any, **how: Any) -> None:
        self.parser_class = partial(Parser, before_body=self.before_body)
        super().__init__(*accepted, **how)
        # Of a file as much is read as the kernel might take (megabytes over loopback), however little it then takes.
        self.sendbuf_len = min(self.sendbuf_len, MOST_SENT_BYTES)

    def before_body(self, request: Parser) -> int:  # noqa: ARG002 (every body may have as much)
        """Look at a request whose header is complete; return how many bytes its body may have.

        Raises ``Problem`` to refuse the request. The thread that serves all connections calls this: it must not wait.
        """
        largest: int = self.server.largest_request_bytes
        return largest

    @property
    def busy(self) -> bool:
        """Whether a request is answered, or an answer not yet sent whole."""
        return bool(self.requests or self.total_outbufs_len) and self.drained_until is None

    def received(self, data: bytes) -> Any:
        """Take bytes; a full disk of the spool is the request's error, not the connection's."""
        try:
            return super().received(data)
        except OSError as error:
            if error.errno not in DISK_FULL or self.request is None:
                raise
        request, self.request = self.request, None
        with contextlib.suppress(OSError):
            request.close()
        request.body_rcv = None
        request.error = storage_full()
        self.requests.append(request)
        self.server.add_task(self)
        return True

    def handle_close(self) -> None:
        """Close, and give up an upload that did not arrive whole."""
        super().handle_close()
        request, self.request = self.request, None
        if request is not None:
            with contextlib.suppress(OSError):  # its last bytes may not fit on the disk any more
                request.close()

    def readable(self) -> bool:
        """Tell the loop whether to wait for bytes."""
        return self.drained_until is not None or super().readable()

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
