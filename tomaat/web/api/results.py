"""Send a result: whole or a range of it, without holding a thread while it is sent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from flask import Request, Response
from werkzeug.http import parse_range_header

from tomaat.tickets.ticket import Ticket
from tomaat.web.http.problems import Problem

LAST_NONE = re.compile(r"bytes=[ \t]*-0+[ \t]*", re.IGNORECASE)  #: a range of the last 0 bytes
OnSent = Callable[[int, int], None]  #: is told the first byte that was sent, and the one behind the last


class SentFile:
    """An open file that tells, when the server closes it, which of its bytes were sent.

    waitress moves the file's position as bytes leave, and closes the file after the last of them or when the client
    went away.
    """

    def __init__(self, file: IO[bytes], end: int, sent: OnSent) -> None:
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


def send_result(request: Request, ticket: Ticket, path: Path, sent: OnSent) -> Response:
    """Answer with a succeeded ticket's archive, honouring ``Range`` and the conditions that it may have.

    ``sent`` is called once the answer has left, whole or in part.
    """
    size = ticket.result_bytes or 0
    headers = {
        "ETag": f'"{ticket.result_sha256}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'attachment; filename="{ticket.service}-{ticket.id}.tar.gz"',
    }
    etag = ticket.result_sha256 or ""
    if "If-Match" in request.headers and not request.if_match.contains(etag):
        raise Problem(412, "changed", "Changed", "The result is not the one that If-Match names.")
    if request.if_none_match.contains_weak(etag):
        return Response(status=304, headers=headers)
    start, end, status = _range(request, size, ticket)
    if status == 206:  # noqa: PLR2004 (Partial Content)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status=status, headers=headers, content_type="application/gzip")
    file = path.open("rb")
    if os.fstat(file.fileno()).st_size != size:
        file.close()
        raise FileNotFoundError(path)
    file.seek(start)
    wrap = request.environ["wsgi.file_wrapper"]
    body = wrap(SentFile(file, end, sent), 256 * 1024)
    return Response(body, status, headers=headers, content_type="application/gzip", direct_passthrough=True)


def _range(request: Request, size: int, ticket: Ticket) -> tuple[int, int, int]:
    """Return the bytes to send, and the status; an unreadable range, or an outdated If-Range, means all."""
    text = request.headers.get("Range", "")
    # the last 0 bytes lie behind the end; werkzeug cannot read such a range
    wanted = parse_range_header(f"bytes={size}-" if LAST_NONE.fullmatch(text) else text)
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1 or request.method == "HEAD":
        return 0, size, 200
    if request.headers.get("If-Range", f'"{ticket.result_sha256}"') != f'"{ticket.result_sha256}"':
        return 0, size, 200
    first, _ = wanted.ranges[0]
    span = (0, size) if first < -size else wanted.range_for_length(size)  # the last 99 of 10 bytes are all
    if span is None:
        detail = f"The result has {size} bytes; the range lies outside of them."
        raise Problem(416, "range", "Range not satisfiable", detail, headers={"Content-Range": f"bytes */{size}"})
    return span[0], span[1], 206
