"""The way of the messages: a pair of sockets that keeps them apart and whole."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Mapping
from typing import Generic

from tomaat.messages.fields import MessageRefused
from tomaat.messages.messages import FROM_WORKER, FromLane, FromWorker, Heard, read, write

SEND_SECONDS = 30  #: that a worker may let its lane wait before it reads on
LARGEST_MESSAGE = 160 * 1024  #: bytes that a socket of this kind takes whole


class ChannelClosed(Exception):
    """The other end is gone."""


class Channel(Generic[Heard]):
    """One end. Each message is sent whole or not at all, so that several threads may send."""

    def __init__(self, end: socket.socket, hears: Mapping[str, type[Heard]]) -> None:
        """Hold an end to which messages of these kinds come."""
        self.end = end
        self.hears = hears

    @staticmethod
    def pair() -> tuple[Channel[FromWorker], socket.socket]:
        """Make the lane's end of a channel, and the other end's socket, to be inherited by the worker."""
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", SEND_SECONDS, 0))
        return Channel(here, FROM_WORKER), there

    def fileno(self) -> int:
        """Let ``poll`` wait for a message."""
        return self.end.fileno()

    def send(self, message: FromLane | FromWorker, *, or_drop: bool = False) -> None:
        """Send a message; with ``or_drop`` it is lost rather than waited for when the other end is slow.

        Raises ``ChannelClosed``, also when the other end reads nothing for long, and ``MessageRefused`` for a message
        that is too long or breaks a rule.
        """
        data = write(message)
        if len(data) > LARGEST_MESSAGE:
            raise MessageRefused(f"a message of {len(data)} bytes is longer than {LARGEST_MESSAGE}")
        try:
            self.end.send(data, socket.MSG_DONTWAIT if or_drop else 0)
        except BlockingIOError as error:
            if not or_drop:
                raise ChannelClosed from error
        except OSError as error:
            raise ChannelClosed from error

    def receive(self) -> Heard:
        """Wait for the next message. Raises ``ChannelClosed``, and ``MessageRefused`` as ``read`` does."""
        try:
            data = self.end.recv(LARGEST_MESSAGE)
        except OSError as error:
            raise ChannelClosed from error
        if not data:
            raise ChannelClosed
        return read(data, self.hears)

    def has_message(self) -> bool:
        """Tell whether ``receive`` would return at once."""
        poll = select.poll()
        poll.register(self.end, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close this end."""
        self.end.close()
