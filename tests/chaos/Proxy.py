"""A TCP port before PostgreSQL's socket that can fall silent as a network does: nothing is closed, nothing arrives."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

CHUNK_BYTES = 64 * 1024


class Proxy:
    """Relays connections; ``silence`` lets all that are open hang for ever, ``speak`` relays new ones again."""

    def __init__(self, socket_path: str) -> None:
        self.address = "\0" + socket_path[1:] if socket_path.startswith("@") else socket_path
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.silent = False
        self.unheard: list[socket.socket] = []  #: the clients' ends
        self.given_up: list[socket.socket] = []  #: the server's ends, until its keepalives would notice
        self.open = True
        self.thread = threading.Thread(target=self._relay, daemon=True)
        self.thread.start()

    def silence(self) -> None:
        """From now on nothing passes; who connects is not answered."""
        self.silent = True

    def speak(self) -> None:
        """Relay new connections; those of before stay silent, and the server has noticed by now."""
        self.silent = False
        while self.given_up:
            self.given_up.pop().close()

    def close(self) -> None:
        """Close all."""
        self.open = False
        self.thread.join(5)
        relayed = [key.fileobj for key in self.selector.get_map().values()]
        for held in [*relayed, *self.unheard, *self.given_up]:
            held.close()  # type: ignore[union-attr]
        self.selector.close()

    def _relay(self) -> None:
        while self.open:
            for key, _ in self.selector.select(0.05):
                if key.fileobj is self.listener:
                    self._accept()
                elif self.selector.get_map().get(key.fd) is key:  # else its other end has just closed it
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self.listener.accept()
        if self.silent:
            self.unheard.append(client)
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.address)
        except OSError:
            client.close()
            server.close()
            return
        for one, other in ((client, server), (server, client)):
            self.selector.register(one, selectors.EVENT_READ, other)

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        if self.silent:
            for end in (one, other):
                self.selector.unregister(end)
                (self.given_up if end.family == socket.AF_UNIX else self.unheard).append(end)
            return
        data = b""
        with contextlib.suppress(OSError):
            data = one.recv(CHUNK_BYTES)
            if data:
                other.sendall(data)
        if not data:
            for end in (one, other):
                self.selector.unregister(end)
                end.close()
