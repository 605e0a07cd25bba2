"""A pooler as PgBouncer is in transaction mode, where it matters here: no notification reaches a client."""

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator

import sqlalchemy

NOTIFICATION = b"A"  #: of PostgreSQL's messages to its client


class Pooled(socketserver.BaseRequestHandler):
    """One connection: what the client sends goes on as it is, of the server's messages all but notifications."""

    def handle(self):
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self.server.address_of_postgres)
            threading.Thread(target=self._pass_on, args=[server], daemon=True).start()
            with contextlib.suppress(OSError), server.makefile("rb") as said:
                while head := said.read(5):
                    body = said.read(struct.unpack("!I", head[1:])[0] - 4)
                    if head[:1] != NOTIFICATION:
                        self.request.sendall(head + body)

    def _pass_on(self, server):
        with contextlib.suppress(OSError):
            while sent := self.request.recv(65536):
                server.sendall(sent)
            server.shutdown(socket.SHUT_WR)


class Pooler(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, url: sqlalchemy.URL) -> None:
        query = dict(url.query)
        host = str(query["host"])
        path = f"{host}/.s.PGSQL.{query['port']}"
        self.address_of_postgres = path if not host.startswith("@") else "\0" + path[1:]
        super().__init__(("127.0.0.1", 0), Pooled)
        port = str(self.server_address[1])
        plain = {"host": "127.0.0.1", "port": port, "sslmode": "disable", "gssencmode": "disable"}
        self.url = url.set(query=plain).render_as_string(hide_password=False)


@contextlib.contextmanager
def pooled(url: str) -> Iterator[str]:
    """Put a pooler before a server on a socket; give the URL of the database behind it."""
    with Pooler(sqlalchemy.make_url(url)) as pooler:
        thread = threading.Thread(target=pooler.serve_forever, daemon=True)
        thread.start()
        yield pooler.url
        pooler.shutdown()
