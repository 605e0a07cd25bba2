"""A connection between TaskScheduling and a node: whole frames, and both ends show that they know one secret.

Nothing is encrypted. So a cluster's network is a private one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import struct
import time
from contextlib import suppress
from typing import Any

WORDS = b"J"  #: a frame of JSON: something said between the two programs
MESSAGE = b"M"  #: a message between a lane and its worker, as ``tomaat.messages`` writes it
PIECE = b"P"  #: a part of a file
LINES = b"L"  #: lines of a node's log
BEAT = b"B"  #: a sign of life
HEAD = struct.Struct("!cI")
PIECE_BYTES = 1024**2
LARGEST_FRAME = PIECE_BYTES + 64 * 1024
#: A list of many files is one frame of words; only who knows the secret can send one.
LARGEST_WORDS = 64 * 1024**2
GREETING_SECONDS = 10.0  #: that a whole greeting may take
#: A way that is cut, or that a firewall forgets while nothing is said, is noticed.
KEPT_ALIVE = {
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 6,
    socket.TCP_USER_TIMEOUT: 300_000,  # milliseconds: longer than a busy disk lets the other end wait
}
NONCE_BYTES = 32
SMALL_BYTES = 64 * 1024  #: of a frame that is copied behind its head, to be one packet


class StreamClosed(OSError):
    """The other end is gone, silent for too long, or no end of ours."""


class Stream:
    """One end. One thread sends, one thread receives; any may end it."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.deadline: float | None = None  #: of all that is received, as long as it is a greeting
        with suppress(OSError):  # a pair of sockets of this machine has no such options
            end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEPT_ALIVE.items():
                end.setsockopt(socket.IPPROTO_TCP, option, value)

    def send(self, kind: bytes, data: bytes | memoryview = b"") -> None:
        """Send a frame. Raises ``StreamClosed``."""
        head = HEAD.pack(kind, len(data))
        try:
            if len(data) <= SMALL_BYTES:
                self.end.sendall(head + bytes(data))
            else:
                self.end.sendall(head)
                self.end.sendall(data)
        except OSError as error:
            raise StreamClosed(f"it cannot be sent ({type(error).__name__})") from error

    def say(self, **words: Any) -> None:
        """Send some facts."""
        self.send(WORDS, json.dumps(words).encode("utf-8", "surrogateescape"))

    def receive(self) -> tuple[bytes, bytes | bytearray]:
        """Wait for the next frame. Raises ``StreamClosed``, also when none comes within the socket's timeout."""
        kind, size = HEAD.unpack(self.exactly(HEAD.size))
        if size > (LARGEST_WORDS if kind == WORDS else LARGEST_FRAME):
            raise StreamClosed(f"a frame of {size} bytes")
        return kind, self.exactly(size)

    def hear(self) -> dict[str, Any]:
        """Wait for facts, and pass over signs of life."""
        while True:
            kind, data = self.receive()
            if kind == WORDS:
                return words_of(data)
            if kind != BEAT:
                raise StreamClosed("a frame that was not expected")

    def exactly(self, size: int) -> bytes | bytearray:
        """Wait for so many bytes. Raises ``StreamClosed``."""
        parts = bytearray(size)
        view, got = memoryview(parts), 0
        try:
            while got < size and (count := self._receive_into(view[got:])):
                got += count
        except OSError as error:
            raise StreamClosed(f"nothing came ({type(error).__name__})") from error
        if got < size:
            raise StreamClosed("the other end has closed it")
        return parts

    def _receive_into(self, view: memoryview) -> int:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.end.settimeout(left)
        return self.end.recv_into(view, len(view), socket.MSG_WAITALL)

    def begin_greeting(self) -> None:
        """Let all that follows end within the time of a greeting."""
        self.deadline = time.monotonic() + GREETING_SECONDS
        self.end.settimeout(GREETING_SECONDS)

    def end_greeting(self) -> None:
        """Wait from now on as long as it takes."""
        self.deadline = None
        self.end.settimeout(None)

    def shut(self) -> None:
        """Let whoever sends or receives notice that it has ended; any thread may call it."""
        with suppress(OSError):
            self.end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back; nobody uses it any longer."""
        self.shut()
        self.end.close()


def words_of(data: bytes | bytearray) -> dict[str, Any]:
    """Read facts. Raises ``StreamClosed`` for anything else."""
    try:
        words = json.loads(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        words = None
    if not isinstance(words, dict):
        raise StreamClosed("no facts")
    return words


def reach(host: str, port: int, secret: bytes, **purpose: Any) -> Stream:
    """Connect to a node, and say what for. Raises ``StreamClosed`` where it does not know the secret, ``OSError``."""
    stream = Stream(socket.create_connection((host, port), timeout=GREETING_SECONDS))
    try:
        stream.begin_greeting()
        show_secret(stream, secret)
        stream.say(**purpose)
        stream.end_greeting()
    except BaseException:
        stream.close()
        raise
    return stream


def show_secret(stream: Stream, secret: bytes) -> None:
    """Show that this side knows the secret, and see that the node does."""
    theirs, own = stream.exactly(NONCE_BYTES), secrets.token_bytes(NONCE_BYTES)
    stream.end.sendall(own + proof(secret, b"engine", theirs, own))
    if not hmac.compare_digest(stream.exactly(NONCE_BYTES), proof(secret, b"node", theirs, own)):
        raise StreamClosed("the node does not know the secret")


def greet(end: socket.socket, secret: bytes) -> tuple[Stream, dict[str, Any]]:
    """Take a connection; return it, and what it is for. Raises ``StreamClosed`` where the other does not know it."""
    stream = Stream(end)
    stream.begin_greeting()
    own = secrets.token_bytes(NONCE_BYTES)
    try:
        end.sendall(own)
    except OSError as error:
        raise StreamClosed("it is gone") from error
    theirs, shown = stream.exactly(NONCE_BYTES), stream.exactly(NONCE_BYTES)
    if not hmac.compare_digest(shown, proof(secret, b"engine", own, theirs)):
        raise StreamClosed("it does not know the secret")
    end.sendall(proof(secret, b"node", own, theirs))
    purpose = stream.hear()
    stream.end_greeting()
    return stream, purpose


def proof(secret: bytes, side: bytes, of_node: bytes | bytearray, of_engine: bytes | bytearray) -> bytes:
    """Show that one side knows the secret, for these two random words only."""
    return hmac.digest(secret, side + of_node + of_engine, hashlib.sha256)
