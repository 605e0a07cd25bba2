"""Messages between a lane and its worker: JSON objects over a pair of sockets that keeps them apart and whole."""

from __future__ import annotations

import json
import socket
from typing import Any

LARGEST_MESSAGE = 160 * 1024  #: bytes that a socket of this kind takes whole


class ChannelClosed(Exception):
    """The other end is gone."""


class Channel:
    """One end. Each message is sent whole or not at all, so that several threads may send."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Make a channel and the other end's socket, to be inherited by the worker."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(here), there

    def fileno(self) -> int:
        """Let ``poll`` wait for a message."""
        return self.end.fileno()

    def send(self, message: dict[str, Any], *, or_drop: bool = False) -> None:
        """Send a message; with ``or_drop`` it is lost rather than waited for when the other end is slow.

        Raises ``ChannelClosed``.
        """
        data = json.dumps(message).encode()
        if len(data) > LARGEST_MESSAGE:
            raise ValueError(f"a message of {len(data)} bytes is longer than {LARGEST_MESSAGE}")
        try:
            self.end.send(data, socket.MSG_DONTWAIT if or_drop else 0)
        except BlockingIOError:
            pass
        except OSError as error:
            raise ChannelClosed from error

    def receive(self) -> dict[str, Any]:
        """Receive the next message, waiting for it. Raises ``ChannelClosed``."""
        try:
            data = self.end.recv(LARGEST_MESSAGE)
        except OSError as error:
            raise ChannelClosed from error
        if not data:
            raise ChannelClosed
        message: dict[str, Any] = json.loads(data)
        return message

    def close(self) -> None:
        """Close this end."""
        self.end.close()
