"""Take a request's form apart while it streams; the payload goes straight into the unpacker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from tomaat.refusals import shown
from tomaat.web.http.problems import Problem, invalid

CHUNK_BYTES = 128 * 1024
LARGEST_HEADER_BYTES = 16 * 1024  #: of a line of a part's headers
MOST_PARTS = 10
LONGEST_SERVICE_BYTES = 200
HOW = "Send multipart/form-data: curl -F service=FloatComputation -F payload=@payload.tar.gz http://…/request"


class Form:
    """One form with the fields ``service`` and, as a file, ``payload``, in either order."""

    def __init__(self, stream: IO[bytes], content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        try:
            self.parser = PushMultipartParser(
                options["boundary"] if kind == "multipart/form-data" else "",
                max_header_size=LARGEST_HEADER_BYTES,
                max_segment_count=MOST_PARTS,
            )
        except (KeyError, MultipartError) as error:
            detail = f"The content type must be multipart/form-data. {HOW}"
            raise Problem(415, "invalid-request", "Not multipart/form-data", detail) from error
        self.stream = stream
        self.events = self._events()
        self.inside: str | None = None  #: the field whose content comes now
        self.service: str | None = None
        self.text = bytearray()
        self.seen: set[str] = set()
        self.faults: list[dict[str, Any]] = []

    def service_before_payload(self) -> str | None:
        """Read the form up to its payload; return the service's name if it stands there.

        Raises ``Problem`` where the form is broken.
        """
        for event in self.events:
            self._take(event)
            if self.inside == "payload":
                return self.service
        return None

    def payload(self) -> Iterator[bytes]:
        """Yield the payload's bytes as they come, and read the rest of the form.

        Raises ``Problem`` at the end, with all that is wrong with the form.
        """
        for event in self.events:
            self._take(event)
            if self.inside == "payload" and isinstance(event, bytes):
                yield event
        for name in ("service", "payload"):
            if name not in self.seen:
                self._fault("missing-field", f"{name}: the form has no such field.")
        if self.faults:
            what = self.faults[0]["detail"] if len(self.faults) == 1 else f"The form has {len(self.faults)} faults."
            raise invalid(f"{what} {HOW}", self.faults)

    def _take(self, event: MultipartSegment | bytes | None) -> None:
        """Read all of the form but the payload's content."""
        if isinstance(event, MultipartSegment):
            self.inside = self._enter(event)
        elif self.inside == "service":
            if event is None:
                self._end_service(bytes(self.text))
            else:
                self.text += event[: LONGEST_SERVICE_BYTES + 1 - len(self.text)]

    def _enter(self, part: MultipartSegment) -> str | None:
        """Note a part by its headers; return the field's name, or nothing where its content is to be skipped."""
        name: str = part.name
        if name not in {"service", "payload"}:
            self._fault("unknown-field", f"{shown(name)}: the form takes the fields service and payload.")
            return None
        if name in self.seen:
            self._fault("doubled-field", f"{name}: the form has this field twice.")
            return None
        self.seen.add(name)
        if part.filename is None and name == "payload":
            self._fault("not-a-file", "payload: must be sent as a file (with curl by an @ before its name).")
            return None
        return name

    def _end_service(self, text: bytes) -> None:
        if len(text) > LONGEST_SERVICE_BYTES:
            self._fault("too-long", f"service: is longer than {LONGEST_SERVICE_BYTES} bytes.")
        else:
            self.service = text.decode("utf-8", errors="replace").strip()

    def _fault(self, code: str, detail: str) -> None:
        self.faults.append({"input": None, "code": code, "detail": detail})

    def _events(self) -> Iterator[MultipartSegment | bytes | None]:
        """Yield each part's headers, then its content in pieces, then ``None``."""
        try:
            yield from self.parser.parse_blocking(self.stream.read, CHUNK_BYTES)
        except MultipartError as error:
            if any(isinstance(reason, UnicodeDecodeError) for reason in error.args):
                rule = "The name of a field or of its file is not UTF-8; give the file another name."
                raise invalid(f"{rule} {HOW}") from error
            raise invalid(f"The form is broken or cut off, or has more than {MOST_PARTS} fields. {HOW}") from error
