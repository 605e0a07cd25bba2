"""The whole way of a request from Python."""

from __future__ import annotations

import secrets
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Callable

from tomaat.client.errors import NotFound, Unusable, demand_path
from tomaat.client.http_api import Http
from tomaat.client.interface import arrange
from tomaat.client.payload import Payload
from tomaat.client.result import Result
from tomaat.client.step import PACKING, UPLOADING, OnStep, bytes_step, ignore
from tomaat.client.ticket import Ticket
from tomaat.client.upload import Upload

DEFAULT_URL = "http://127.0.0.1:5000"
PATIENCE_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
UPLOADED_SECONDS = 600.0  #: from the last byte sent to the ticket: a large payload is unpacked, checked and flushed


class Client:
    """A server, by its address, and the requests to it.

    ``key`` is the API key, where the server wants one. A server that is away, busy, or silent for ``timeout_seconds``
    is asked again for ``patience_seconds``; ``on_notice`` hears a sentence each time. One client is for one thread.

    A method that takes ``on_step`` calls it with a ``Step`` whenever there is something new to show. An exception
    raised there stops the method. The ticket, once there is one, goes on.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        timeout_seconds: float = TIMEOUT_SECONDS,
        on_notice: Callable[[str], object] = ignore,
    ) -> None:
        self.http = Http(url, patience_seconds=patience_seconds, timeout_seconds=timeout_seconds, on_notice=on_notice)
        self.url = self.http.url
        if key is not None and not (key.isascii() and key.isprintable()):
            remedy = "Look at TOMAAT_KEY, or at the file of --key-file."
            raise Unusable("The API key is not one line of plain characters.", remedy=remedy)
        self.key = key
        self._known: dict[str, dict[str, Any]] = {}

    def services(self) -> list[dict[str, Any]]:
        """List the services as the server describes them.

        Each has ``name``, ``description``, ``version``, ``interface``, ``example`` and ``available``, and for its queue
        ``waiting`` (tickets) and ``wait_seconds``.
        """
        services = self.http.ask_json("GET", "/supportedservices")
        if not isinstance(services, list) or not all(
            isinstance(one, dict) and {"name", "interface"} <= one.keys() for one in services
        ):
            raise self.http.stranger()
        self._known = {service["name"]: service for service in services}
        return services

    def service(self, name: str) -> dict[str, Any]:
        """Describe a service, as this client saw it first; raises ``NotFound`` with those of a similar name."""
        if name not in self._known:
            self.services()
        if name in self._known:
            return self._known[name]
        names = list(self._known)
        near = get_close_matches(name, names)
        rest = f"did you mean {' or '.join(near)}?" if near else f"it offers {', '.join(names) or 'none yet'}."
        raise NotFound(f"{self.url} offers no service {name!r}; {rest}")

    def prepare(
        self,
        service: str,
        inputs: Mapping[str, Any],
        *,
        format: str | None = None,
        label: str | None = None,
        priority: str | None = None,
    ) -> Payload:
        """Check inputs against the service's interface; raises ``Refused`` with every fault, or ``NotFound``."""
        payload = arrange(service, self.service(service)["interface"], inputs, format, label)
        return replace(payload, priority=priority or "")

    def send(self, payload: Payload, *, idempotency_key: str | None = None, on_step: OnStep = ignore) -> Ticket:
        """Send a request; the same payload sent again with the same key gives the same ticket.

        Its label goes along where the server keeps labels.
        """
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        if self.key:
            headers["X-API-Key"] = self.key
        with tempfile.TemporaryFile(prefix="tomaat-") as file:
            size = payload.pack(file, lambda done, total: on_step(bytes_step(PACKING, done, total)))
            fields = {"service": payload.service}
            if payload.label and self._known.get(payload.service, {}).get("takes_label"):  # older servers refuse it
                fields["label"] = payload.label
            if payload.priority:
                fields["priority"] = payload.priority
            upload = Upload(fields, file, size, lambda sent: on_step(bytes_step(UPLOADING, sent, size)))
            accepted = self.http.ask_json(
                "POST",
                "/request",
                headers={**headers, "Content-Type": upload.content_type},
                body=lambda: upload,
                longer_seconds=UPLOADED_SECONDS,
            )
        id, token = (accepted.get("id"), accepted.get("token")) if isinstance(accepted, dict) else (None, None)
        if not isinstance(id, int) or not isinstance(token, str):
            raise self.http.stranger()
        return Ticket(self.http, id=id, token=token, service=payload.service)

    def submit(
        self,
        service: str,
        /,
        *,
        inputs: Mapping[str, Any] | None = None,
        format: str | None = None,
        label: str | None = None,
        priority: str | None = None,
        on_step: OnStep = ignore,
        **named: Any,
    ) -> Ticket:
        """Send a request, its inputs by name: a file's or a folder's path, or a value.

        An input that is called as an argument here (``format``, say) goes into ``inputs``. ``format`` is that of the
        result's volumes: ``nii.gz``, ``nrrd``, ``mha``, ``seg.nrrd`` or ``dicom-seg``. Which files of a folder are not
        sent is told by ``warnings``.

        ``label`` is your own name for the ticket, by default that of its file or folder; ``""`` sends none. Where the
        service has an input ``label``, it is that input's value. ``priority`` is ``urgent``, ``normal`` or ``night``,
        where your API key may ask for that; likewise for an input ``priority``.
        """
        interface = self.service(service)["interface"]
        if label is not None and "label" in interface:
            named["label"], label = label, None
        if priority is not None and "priority" in interface:
            named["priority"], priority = priority, None
        given = {**(inputs or {}), **named}
        payload = self.prepare(service, given, format=format, label=label, priority=priority)
        for remark in payload.remarks():
            warnings.warn(remark, stacklevel=2)
        return self.send(payload, on_step=on_step)

    def run(
        self,
        service: str,
        /,
        *,
        out: str | Path | None = None,
        inputs: Mapping[str, Any] | None = None,
        format: str | None = None,
        label: str | None = None,
        priority: str | None = None,
        on_step: OnStep = ignore,
        **named: Any,
    ) -> Result:
        """Send a request, wait, and fetch its result into ``out``, by default ``<service>-<ticket's id>``.

        ``result[name]`` is then the path of an output's file, or its value. Raises a ``ClientError``: ``Refused`` for
        the inputs, ``NotFound`` for the service, ``Failed``, ``GivenUp`` or ``NotFound`` for the ticket,
        ``Unreachable``, ``NotAllowed`` or ``Damaged`` for the server's answers, ``Unusable`` for a folder with other
        files.
        """
        if out is not None:
            demand_path(out, "out")
        ticket = self.submit(
            service, inputs=inputs, format=format, label=label, priority=priority, on_step=on_step, **named
        )
        ticket.wait(on_step=on_step)
        return ticket.fetch(f"{service}-{ticket.id}" if out is None else out, on_step=on_step)

    def ticket(self, id: int, token: str) -> Ticket:
        """Go on with an earlier ticket."""
        return Ticket(self.http, id=id, token=token)
