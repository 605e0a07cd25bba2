"""Files on their way between two machines: in pieces, checked by their SHA-256 at the end."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from tomaat.cluster.stream import PIECE, PIECE_BYTES, Stream, StreamClosed, words_of

NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


class UnwantedFile(Exception):
    """Nobody wants the file any longer."""


class NotAsSent(OSError):
    """A file that changed on its way, or that the other end could not read."""


class NotTaken(OSError):
    """The other machine could not take a file; ``errno`` says whether its disk is full."""


def send_file(stream: Stream, path: Path, *, wanted: Callable[[], bool] = lambda: True) -> str:
    """Send one regular file and its SHA-256, which is returned.

    Raises ``UnwantedFile`` once it is not ``wanted`` any longer, ``OSError`` where it cannot be read. The other end was
    told to drop it then.
    """
    try:
        sha256 = _send_pieces(stream, path, wanted)
    except StreamClosed:
        raise
    except BaseException:
        stream.say(dropped=True)
        raise
    stream.say(sha256=sha256)
    return sha256


def _send_pieces(stream: Stream, path: Path, wanted: Callable[[], bool]) -> str:
    digest, buffer = hashlib.sha256(), bytearray(PIECE_BYTES)
    view = memoryview(buffer)
    with os.fdopen(os.open(path, os.O_RDONLY | NO_LINK), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        while count := file.readinto(buffer):
            if not wanted():
                raise UnwantedFile
            digest.update(view[:count])
            stream.send(PIECE, view[:count])
    return digest.hexdigest()


def take_file(stream: Stream, place: Path, *, sha256: str | None = None) -> OSError | None:
    """Write a file that the other end sends, if it has this SHA-256; return why it could not be written.

    It is taken to its end in any case, so that the next thing can be said. Nothing is left of one that fails.
    """
    fault: OSError | None = None
    descriptor, digest, whole = -1, hashlib.sha256(), False
    try:
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_LINK, 0o600)
    except OSError as error:
        fault = error
    try:
        while (frame := stream.receive())[0] == PIECE:
            if fault is None:
                digest.update(frame[1])
                fault = _written(descriptor, frame[1])
        told = words_of(frame[1]).get("sha256")
        if fault is None and (told != digest.hexdigest() or sha256 not in {None, told}):
            fault = NotAsSent(errno.EBADMSG, "the file did not arrive as it was sent")
        whole = fault is None
    finally:
        if descriptor >= 0:
            os.close(descriptor)
            if not whole:
                place.unlink(missing_ok=True)
    return fault


def _written(descriptor: int, data: bytes | bytearray) -> OSError | None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        return error
    return None


def answer(stream: Stream, fault: OSError | None, **facts: Any) -> None:
    """Tell the other end whether something was done."""
    if fault is None:
        stream.say(done=True, **facts)
    else:
        stream.say(done=False, errno=fault.errno or errno.EIO, reason=fault.strerror or str(fault))


def hear_answer(stream: Stream) -> dict[str, Any]:
    """Wait until the other end has done something. Raises ``NotTaken`` where it could not."""
    told = stream.hear()
    if not told.get("done"):
        raise NotTaken(told.get("errno"), told.get("reason"))
    return told


def inside(folder: Path, name: object) -> Path:
    """Give the path of a name inside of a folder. Raises ``OSError`` for one that leads elsewhere."""
    path = PurePosixPath(name) if isinstance(name, str) else PurePosixPath()
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise OSError(errno.EINVAL, "a name that leads elsewhere")
    return folder / path
