"""Send a file: whole or a range of it, without holding a thread while it is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from flask import Request, Response
from werkzeug.http import parse_range_header

from tomaat.archives import Member, members_of, open_member
from tomaat.tickets.ticket import Ticket
from tomaat.web.http.problems import Problem

GZIP = "application/gzip"
TYPES = {".gz": GZIP, ".json": "application/json", ".png": "image/png"}  #: others are saved, not shown
ANY_TYPE = "application/octet-stream"
LAST_NONE = re.compile(r"bytes=[ \t]*-0+[ \t]*", re.IGNORECASE)  #: a range of the last 0 bytes
OnSent = Callable[[int, int], None]  #: is told the first byte that was sent, and the one behind the last


class Readable(Protocol):
    """An open file, or a part of one."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most so many bytes."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""

    def tell(self) -> int:
        """Tell the place."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What can be sent: its name for the client, and how to open it."""

    name: str
    size: int  #: bytes
    etag: str
    open: Callable[[], Readable]  #: raises ``FileNotFoundError`` once it is gone
    type: str = GZIP


class SentFile:
    """An open file that tells, when the server closes it, which of its bytes were sent.

    waitress moves the file's position as bytes leave, and closes the file after the last of them or when the client
    went away.
    """

    def __init__(self, file: Readable, end: int, sent: OnSent) -> None:
        self.file = file
        self.first = file.tell()
        self.end = end
        self.sent = sent
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell

    def close(self) -> None:
        """Close the file."""
        if not self.file.closed:
            end = min(self.file.tell(), self.end)
            self.file.close()
            if end > self.first:
                self.sent(self.first, end)


def result_of(ticket: Ticket, path: Path) -> Content:
    """Describe a succeeded ticket's archive."""
    return Content(
        name=f"{ticket.service}-{ticket.id}.tar.gz",
        size=ticket.result_bytes or 0,
        etag=ticket.result_sha256 or "",
        open=partial(_open_whole, path, ticket.result_bytes or 0),
    )


def files_of(path: Path) -> list[Member]:
    """List the files of an archive that can be sent one by one; raises ``FileNotFoundError`` once it is gone."""
    with path.open("rb") as archive:
        return members_of(archive)


def file_of(ticket: Ticket, path: Path, name: str) -> Content:
    """Describe one file of a succeeded ticket's archive.

    Raises ``Problem`` where there is no such file, and ``FileNotFoundError`` where there is no archive any more.
    """
    members = files_of(path)
    for number, member in enumerate(members):
        if member.name == name:
            return Content(
                name=name,
                size=member.size,
                etag=f"{ticket.result_sha256}-{number}",
                open=partial(_open_one, path, member),
                type=TYPES.get(name[name.rfind(".") :], ANY_TYPE),
            )
    raise no_such_file("result", [member.name for member in members])


def no_such_file(whose: str, names: list[str]) -> Problem:
    """Name the files that there are."""
    there = f"it has {', '.join(names)}" if names else "none of it can be fetched by itself"
    return Problem(404, "not-found", "Not found", f"The {whose} has no file of this name; {there}.")


def send(request: Request, content: Content, sent: OnSent = lambda _first, _end: None) -> Response:
    """Answer with a content, honouring ``Range`` and the conditions that a request may have.

    ``sent`` is called once the answer has left, whole or in part.
    """
    headers = {
        "ETag": f'"{content.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": _attachment(content.name),
    }
    if "If-Match" in request.headers and not request.if_match.contains(content.etag):
        raise Problem(412, "changed", "Changed", "The file is not the one that If-Match names.")
    if request.if_none_match.contains_weak(content.etag):
        return Response(status=304, headers=headers)
    start, end, status = _range(request, content)
    if status == 206:  # noqa: PLR2004 (Partial Content)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status=status, headers=headers, content_type=content.type)
    file = content.open()
    try:
        file.seek(start)
        file.read(1)  # what has to be inflated up to there is inflated by this thread, which nobody else waits for
        file.seek(start)
    except BaseException:
        file.close()
        raise
    wrap = request.environ["wsgi.file_wrapper"]
    body = wrap(SentFile(file, end, sent), 256 * 1024)
    return Response(body, status, headers=headers, content_type=content.type, direct_passthrough=True)


def _attachment(name: str) -> str:
    """Name a file to the client, as RFC 6266 has it.

    >>> _attachment("brain.nii.gz"), _attachment("Köpf.csv")
    ('attachment; filename="brain.nii.gz"', "attachment; filename*=UTF-8''K%C3%B6pf.csv")
    """
    if name.isascii() and name.isprintable() and not {'"', "\\"} & set(name):
        return f'attachment; filename="{name}"'
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def _open_whole(path: Path, size: int) -> Readable:
    file = path.open("rb")
    if os.fstat(file.fileno()).st_size != size:
        file.close()
        raise FileNotFoundError(path)
    return file


def _open_one(path: Path, member: Member) -> Readable:
    return open_member(path.open("rb"), member)


def _range(request: Request, content: Content) -> tuple[int, int, int]:
    """Return the bytes to send, and the status; an unreadable range, or an outdated If-Range, means all."""
    size, text = content.size, request.headers.get("Range", "")
    # the last 0 bytes lie behind the end; werkzeug cannot read such a range
    wanted = parse_range_header(f"bytes={size}-" if LAST_NONE.fullmatch(text) else text)
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or request.method == "HEAD":
        return 0, size, 200
    if request.headers.get("If-Range", f'"{content.etag}"') != f'"{content.etag}"':
        return 0, size, 200
    first, _ = wanted.ranges[0]
    span = (0, size) if first < -size < 0 else wanted.range_for_length(size)  # the last 99 of 10 bytes are all
    if span is None:
        detail = f"The file has {size} bytes; the range lies outside of them."
        raise Problem(416, "range", "Range not satisfiable", detail, headers={"Content-Range": f"bytes */{size}"})
    return span[0], span[1], 206
