"""waitress in front: it holds slow uploads and downloads without holding a thread."""

from __future__ import annotations

import errno
import logging
import tempfile
import threading
from pathlib import Path

import structlog
from flask import Flask
from waitress.server import create_server

log = structlog.get_logger()

MOST_CONNECTIONS = 1000
SPARE_BYTES = 16 * 1024**2  #: waitress takes this much more than we do, so that it is us who refuse


class PortBusy(Exception):
    """Another program listens on the port."""


class WebServer:
    """The listening server, in a thread of its own; ``stop`` ends it within seconds."""

    def __init__(
        self, app: Flask, *, host: str, port: int, threads: int, largest_request_bytes: int, temporary: Path
    ) -> None:
        tempfile.tempdir = str(temporary)  # where waitress spools large bodies
        logging.getLogger("waitress").setLevel(logging.CRITICAL)  # it would name paths, and a path holds a token
        try:
            self.server = create_server(
                app,
                host=host,
                port=port,
                threads=threads,
                connection_limit=MOST_CONNECTIONS,
                asyncore_use_poll=True,
                max_request_body_size=largest_request_bytes + SPARE_BYTES,
                clear_untrusted_proxy_headers=True,
                ident=None,
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortBusy(
                f"port {port} on {host} is taken by another program; end it, or set TOMAAT_PORT to another port"
            ) from error
        self.thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self.thread.start()

    def stop(self) -> None:
        """Stop listening, let the views in progress end, and close."""
        self.server.close()
        self.server.task_dispatcher.shutdown(timeout=5)

    def _run(self) -> None:
        try:
            self.server.run()
        except OSError as error:  # its sockets were closed under it
            log.debug("web.closed", error=type(error).__name__)
