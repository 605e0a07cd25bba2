"""Take a request's form apart while it streams: its own texts, and a payload or the inputs' own fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, TypeAlias

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from tomaat.refusals import shown
from tomaat.services.payload import LARGEST_MAIN_BYTES
from tomaat.web.http.problems import Problem, invalid

CHUNK_BYTES = 128 * 1024
LARGEST_HEADER_BYTES = 16 * 1024  #: of a line of a part's headers
LONGEST_SERVICE_BYTES = 200
MOST_FAULTS = 100  #: that are told one by one
SERVICE, LABEL, PRIORITY, PAYLOAD = "service", "label", "priority", "payload"
#: Bytes of the form's own texts. All but the first may turn out to be the value of an input of that id.
LONGEST_BYTES = {SERVICE: LONGEST_SERVICE_BYTES, LABEL: LARGEST_MAIN_BYTES, PRIORITY: LARGEST_MAIN_BYTES}
HOW = (
    "Send multipart/form-data: curl -F service=FloatComputation -F f1=1 -F f2=2 http://…/request, a volume as "
    "-F scan=@scan.nii.gz; or all inputs in one archive: -F payload=@payload.tar.gz"
)

Part: TypeAlias = MultipartSegment  #: the headers of a field: its name, and the name of its file, if it is one
Event: TypeAlias = Part | bytes | None  #: a field begins, goes on, or ends


class Form:
    """One form: its own texts, and a file ``payload`` or a field for each input, in any order.

    Its own texts are ``service``, ``label`` and ``priority``.
    """

    def __init__(self, stream: IO[bytes], content_type: str, *, most_parts: int) -> None:
        """Read ``stream``; raises ``Problem`` for another content type than that of a form."""
        kind, options = parse_options_header(content_type)
        try:
            self.parser = PushMultipartParser(
                options["boundary"] if kind == "multipart/form-data" else "",
                max_header_size=LARGEST_HEADER_BYTES,
                max_segment_count=most_parts,
            )
        except (KeyError, MultipartError) as error:
            detail = f"The content type must be multipart/form-data. {HOW}"
            raise Problem(415, "invalid-request", "Not multipart/form-data", detail) from error
        self.stream = stream
        self.most_parts = most_parts
        self.events = self._events()
        self.inside: str | None = None  #: the field whose content comes now, and is passed on
        self.own: str | None = None  #: the form's own text that comes now
        self.first: Part | None = None  #: the first field that is none of the form's own texts
        self.texts: dict[str, bytearray] = {}  #: the form's own, as far as they came
        self.service: str | None = None
        self.seen: set[str] = set()  #: of the fields that a form has once
        self.faults: list[dict[str, Any]] = []

    def begin(self) -> str | None:
        """Read the form up to its payload, or first input; return the service's name if it came before.

        Raises ``Problem`` where the form is broken.
        """
        for event in self.events:
            if self._take(event) is not None:
                break
        return self.service

    def own_text(self, name: str) -> bytes | None:
        """Return the content of the field ``label`` or ``priority``, as far as the form is read."""
        return bytes(self.texts[name]) if name in self.texts else None

    @property
    def has_payload(self) -> bool:
        """Whether the inputs come in an archive, as far as the form is read."""
        return self.first is not None and self.first.name == PAYLOAD

    def payload(self) -> Iterator[bytes]:
        """Yield the payload's bytes as they come, and read the rest of the form.

        Raises ``Problem`` at the end, with all that is wrong with the form.
        """
        for event in self.events:
            if self._take(event) == PAYLOAD and isinstance(event, bytes):
                yield event
        self._finish()

    def fields(self) -> Iterator[Event]:
        """Yield the fields of inputs, and their content, as they come; read the rest of the form.

        Raises ``Problem`` at the end, with all that is wrong with the form.
        """
        if self.first is not None and self.inside is not None:
            yield self.first
        for event in self.events:
            if self._take(event) is not None:
                yield event
        self._finish()

    def _finish(self) -> None:
        """Raise ``Problem`` with the faults of the form, if there are any."""
        if SERVICE not in self.seen:
            self._fault("missing-field", f"{SERVICE}: the form has no such field.")
        if self.faults:
            what = self.faults[0]["detail"] if len(self.faults) == 1 else f"The form has {len(self.faults)} faults."
            raise invalid(f"{what} {HOW}", self.faults)

    def _take(self, event: Event) -> str | None:
        """Follow the form, and keep its own texts; return the field of this event, if it is to be passed on."""
        if isinstance(event, MultipartSegment):
            self.inside = self._enter(event)
        elif self.own is not None and event is not None:
            text = self.texts[self.own]
            text += event[: LONGEST_BYTES[self.own] + 1 - len(text)]
        field = self.inside
        if event is None:
            if self.own == SERVICE:
                self._end_service(bytes(self.texts[SERVICE]))
            self.own = self.inside = None
        return field

    def _enter(self, part: Part) -> str | None:
        """Note a part by its headers; return the field's name, unless it is the form's own text, or to be skipped."""
        name: str = part.name
        is_own = name == SERVICE or (name in LONGEST_BYTES and part.filename is None)
        if is_own or name == PAYLOAD:
            if name in self.seen:
                self._fault("doubled-field", f"{name}: the form has this field twice.")
                return None
            self.seen.add(name)
        if is_own:
            self.own, self.texts[name] = name, bytearray()
            return None
        self.first = self.first or part
        if self.has_payload != (name == PAYLOAD):
            self._fault("mixed-fields", f"{shown(name)}: send the inputs in a payload or as fields, not both.")
            return None
        if name == PAYLOAD and part.filename is None:
            self._fault("not-a-file", f"{PAYLOAD}: must be sent as a file (with curl by an @ before its name).")
            return None
        return name

    def _end_service(self, text: bytes) -> None:
        if len(text) > LONGEST_SERVICE_BYTES:
            self._fault("too-long", f"{SERVICE}: is longer than {LONGEST_SERVICE_BYTES} bytes.")
        else:
            self.service = text.decode("utf-8", errors="replace").strip()

    def _fault(self, code: str, detail: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append({"input": None, "code": code, "detail": detail})

    def _events(self) -> Iterator[Event]:
        try:
            yield from self.parser.parse_blocking(self.stream.read, CHUNK_BYTES)
        except MultipartError as error:
            if any(isinstance(reason, UnicodeDecodeError) for reason in error.args):
                rule = "The name of a field or of its file is not UTF-8; give the file another name."
                raise invalid(f"{rule} {HOW}") from error
            raise invalid(f"The form is broken or cut off, or has more than {self.most_parts} fields. {HOW}") from error
