"""waitress in front: it holds slow uploads and downloads without holding a thread."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog

from tomaat.processes.log import frames_of
from tomaat.processes.misconfigured import Misconfigured
from tomaat.web.http.connection import IN_MEMORY_BYTES, Connection
from tomaat.web.http.connections import LOOK_SECONDS, Connections, Doorkeeper
from tomaat.web.http.problems import Problem
from tomaat.web.http.waitress_parts import LOG, QUEUE_LOG, Adjustments, create_server, wasyncore

log = structlog.get_logger()

MOST_OPEN_FILES = 4096  #: a connection may have a spooled body or a result open besides
LARGEST_HEADER_BYTES = 64 * 1024
RECEIVE_BYTES = 64 * 1024
LAST_ANSWERS_SECONDS = 5.0  #: how long a stopping server sends what it has begun


class PortBusy(Misconfigured):
    """Nobody can listen on the port; the sentence says why, and what to do."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Take a port of a host, which may have several addresses, for who will listen there. Raises ``PortBusy``."""
    bound: list[socket.socket] = []
    try:
        for family, kind, protocol, address in Adjustments(host=host, port=port).listen:
            each = socket.socket(family, kind, protocol)
            bound.append(each)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(address)
    except (OSError, ValueError) as error:
        for each in bound:
            each.close()
        raise PortBusy(_why_not(error, host, port)) from error
    return bound


class WebServer:
    """The listening server, on ``bind``'s sockets, in a thread of its own; ``stop`` ends it within seconds."""

    def __init__(
        self,
        gate: Doorkeeper,
        *,
        sockets: Sequence[socket.socket],
        threads: int,
        most_connections_of_one_address: int,
        largest_spools_bytes: int,
        temporary: Path,
        note_refused: Callable[[Problem], None] = lambda _: None,
    ) -> None:
        host, port = sockets[0].getsockname()[:2]
        tempfile.tempdir = str(temporary)  # where waitress spools large bodies
        logging.getLogger(LOG).addFilter(_without_paths)
        logging.getLogger(QUEUE_LOG).setLevel(logging.CRITICAL)  # a full queue of requests is no event
        _allow_open_files()
        self.sockets: dict[int, Any] = {}
        try:
            self.server = create_server(
                gate.app,
                map=self.sockets,
                sockets=sockets,
                threads=threads,
                connection_limit=sys.maxsize,  # at it waitress would listen no more; Connections closes some instead
                asyncore_use_poll=True,
                recv_bytes=RECEIVE_BYTES,
                inbuf_overflow=IN_MEMORY_BYTES,
                max_request_header_size=LARGEST_HEADER_BYTES,
                max_request_body_size=sys.maxsize,  # the gate bounds each body
                clear_untrusted_proxy_headers=True,
                log_socket_errors=False,
                ident=None,
            )
        except OSError as error:
            wasyncore.close_all(self.sockets)
            raise PortBusy(_why_not(error, host, port)) from error
        self.listening = [each for each in self.sockets.values() if hasattr(each, "channel_class")]
        self.connections = Connections(
            self.sockets,
            gate,
            most_of_one_address=most_connections_of_one_address,
            largest_spools_bytes=largest_spools_bytes,
            most_unpacking=3 * threads // 8,
            start=self.server.task_dispatcher.add_task,
            wake=self._wake,
        )
        for each in self.listening:
            each.channel_class = Connection
            each.connections = self.connections
            each.add_task = self.connections.add_task
            each.note_refused = note_refused
        self.url = f"http://{host}:{port}"
        self.stopping = False
        self.thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self.thread.start()
        log.info("web.listening", url=self.url)

    def stop(self) -> None:
        """Stop listening, answer what was asked completely, and close."""
        if not self.stopping:
            self.stopping = True
            self._wake()
            self.thread.join(timeout=2 * LAST_ANSWERS_SECONDS)

    def _run(self) -> None:
        while not self.stopping:
            self._turn(LOOK_SECONDS)
        for each in self.listening:
            wasyncore.dispatcher.close(each)  # its trigger stays: the threads still pull it
        until = time.monotonic() + LAST_ANSWERS_SECONDS
        while time.monotonic() < until and any(each.busy for each in self.connections.all()):
            self._turn(0.1)
        self.server.task_dispatcher.shutdown(timeout=1)
        for each in self.connections.all():
            each.handle_close()
        wasyncore.close_all(self.sockets, ignore_all=True)

    def _wake(self) -> None:
        self.listening[0].pull_trigger()

    def _turn(self, seconds: float) -> None:
        wasyncore.loop(timeout=seconds, use_poll=True, map=self.sockets, count=1)
        self.connections.turn()


def _why_not(error: OSError | ValueError, host: str, port: int) -> str:
    if isinstance(error, ValueError):
        return f"TOMAAT_HOST: {host} is no address of this machine; 127.0.0.1 and 0.0.0.0 always are"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program; end it, or set TOMAAT_PORT to another port"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} is for the administrator only; set TOMAAT_PORT to a port above 1023"
    return f"nobody can listen on port {port} of {host} ({error.strerror}); see TOMAAT_HOST and TOMAAT_PORT"


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MOST_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _without_paths(record: logging.LogRecord) -> bool:
    """Log what waitress reports ourselves, without its text: that names paths, and a path holds a token."""
    if record.levelno >= logging.WARNING:
        error = record.exc_info[1] if record.exc_info else None
        facts = {"error": type(error).__name__, "frames": frames_of(error)} if error else {}
        log.warning("web.trouble", where=f"{record.filename}:{record.lineno}", **facts)
    return False
