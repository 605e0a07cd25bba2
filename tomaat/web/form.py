"""Take a request's form apart while it streams: the service's name, and the payload straight into the unpacker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from tomaat.web.problems import Problem, invalid

CHUNK_BYTES = 256 * 1024
LONGEST_SERVICE_BYTES = 200
HOW = "Send multipart/form-data: curl -F service=FloatComputation -F payload=@payload.tar.gz http://…/request"


class Form:
    """One form with the fields ``service`` and, as a file, ``payload``, in either order."""

    def __init__(self, stream: IO[bytes], content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != "multipart/form-data" or not options.get("boundary"):
            raise Problem(415, "invalid-request", "Not a form", f"The content type must be multipart/form-data. {HOW}")
        self.stream = stream
        self.decoder = MultipartDecoder(
            options["boundary"].encode("latin-1", "replace"), max_form_memory_size=None, max_parts=10
        )
        self.service: str | None = None
        self.seen: set[str] = set()
        self.events = self._events()

    def payload(self) -> Iterator[bytes]:
        """Yield the payload's bytes as they come; what stands before and behind it in the form is read as well.

        Raises ``Problem`` for a form that is not of this kind.
        """
        inside: str | None = None
        text = bytearray()
        for event in self.events:
            if isinstance(event, (Field, File)):
                inside = self._enter(event)
            elif isinstance(event, Data) and inside == "payload":
                yield event.data
            elif isinstance(event, Data):
                text += event.data
                if len(text) > LONGEST_SERVICE_BYTES:
                    raise invalid(f"service: is longer than {LONGEST_SERVICE_BYTES} bytes.")
                if not event.more_data:
                    self.service = text.decode("utf-8", errors="replace").strip()
        missing = sorted({"service", "payload"} - self.seen)
        if missing:
            raise invalid(f"The form lacks {' and '.join(missing)}. {HOW}")

    def _enter(self, event: Field | File) -> str:
        name = event.name
        if name not in {"service", "payload"}:
            raise invalid(f"The form has a field that is neither service nor payload. {HOW}")
        if name in self.seen:
            raise invalid(f"The form has the field {name} twice. {HOW}")
        if isinstance(event, Field) and name == "payload":
            raise invalid(f"payload: must be sent as a file. {HOW}")
        self.seen.add(name)
        return name

    def _events(self) -> Iterator[Field | File | Data]:
        try:
            while True:
                chunk = self.stream.read(CHUNK_BYTES)
                self.decoder.receive_data(chunk or None)
                while not isinstance(event := self.decoder.next_event(), NeedData):
                    if isinstance(event, Epilogue):
                        return
                    if isinstance(event, (Field, File, Data)):
                        yield event
        except (ValueError, RequestEntityTooLarge) as error:
            raise invalid(f"The form is broken or cut off. {HOW}") from error


def content_length(headers: Headers) -> int | None:
    """Read the length that a request claims."""
    claimed = headers.get("Content-Length", "")
    return int(claimed) if claimed.isdecimal() else None
