"""A server that speaks the protocol with the standard library alone, and breaks where a test says so."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VOLUME = {"extensions": [".nii.gz", ".nii", ".nrrd", ".mha", ".zip"], "largest_voxel_bytes": None}


def declared(id: str, type: str, *, required: bool = True, default: Any = None, **more: Any) -> dict[str, Any]:
    store = "file" if type == "volume" else "mainjson"
    return {
        "id": id,
        "name": f"The {id}",
        "description": "",
        "type": type,
        "store": store,
        "required": required,
        "default": default,
        **more,
    }


SERVICES = [
    {
        "name": "Sum",
        "description": "Adds.",
        "version": "1",
        "available": True,
        "takes_label": True,
        "interface": {
            "f1": declared("f1", "float"),
            "op": declared("op", "singlechoice", required=False, default="add", choices=["add", "multiply"]),
        },
    },
    {
        "name": "Brain",
        "description": "Outlines.",
        "version": "1",
        "available": True,
        "takes_label": True,
        "interface": {
            "scan": declared("scan", "volume", **VOLUME),
            "mask": declared("mask", "volume", required=False, **VOLUME),
            "fast": declared("fast", "boolean", required=False, default=False),
            "points": declared("points", "pointlist", required=False, coordinates="LPS"),
        },
    },
]
SUM = {"service": "Sum", "outputs": [{"name": "sum", "type": "json", "value": 3}]}


def archive(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    """Pack a result."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def result(record: dict[str, Any] = SUM, **files: bytes) -> bytes:
    """Pack a result; the keyword `mask_nii` becomes the file `mask.nii`."""
    members = [(name.replace("_", "."), content) for name, content in files.items()]
    return archive(*members, ("result.json", json.dumps(record).encode()))


class StubServer(ThreadingHTTPServer):
    """Every ticket is in ``states`` (the last one for ever), and has the one ``result``.

    ``faults`` are taken one by one, by each request that they are for: ``("POST", "drop")`` ends the connection before
    the body is read, ``("POST", "lose")`` before the answer, ``("GET", 503, {...})`` answers that status,
    ``("GET", "cut", 10)`` sends 10 bytes of the result, ``("GET", "flip")`` changes one of its bytes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.services: Any = SERVICES
        self.result = result()
        self.ranges = True
        self.states = ["succeeded"]
        self.status_of: dict[str, Any] = {}
        self.faults: list[tuple] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.tickets: dict[str, bytes] = {}  #: payloads by their Idempotency-Key
        self.labels: dict[int, str] = {}  #: of tickets, empty where none was sent
        self.priorities: dict[int, str] = {}  #: likewise
        self.cancelled: set[int] = set()
        self.deleted: set[int] = set()

    def handle_error(self, *_: object) -> None:
        """A client that went away is what some tests are about."""

    def asked(self, method: str, path: str = "") -> list[dict[str, str]]:
        """The headers of the requests of one kind."""
        return [headers for one, where, headers in self.seen if one == method and where.startswith(path)]


class Handler(BaseHTTPRequestHandler):
    server: StubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def fault(self, method: str) -> tuple:
        for place, fault in enumerate(self.server.faults):
            if fault[0] == method:
                return self.server.faults.pop(place)[1:]
        return ("none",)

    def answer(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def problem(self, status: int, slug: str = "busy", headers: dict[str, str] | None = None, **more: Any) -> None:
        self.answer(
            status,
            {"type": f"/problems/{slug}", "status": status, "detail": f"It is {slug}.", **more},
            **(headers or {}),
        )

    def handle_faulty(self, method: str) -> tuple | None:
        """Do what a fault says; return it where the method has to do it itself."""
        self.server.seen.append((method, self.path, dict(self.headers)))
        fault = self.fault(method)
        if fault[0] == "drop":
            self.drop()
        elif isinstance(fault[0], int):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.problem(fault[0], **(fault[1] if len(fault) > 1 else {}))
        else:
            return fault
        return None

    def do_POST(self) -> None:
        fault = self.handle_faulty("POST")
        if fault is None:
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        before, _, payload = body.partition(b'name="payload"')
        payload = payload.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
        label, priority = (
            before.partition(b'name="%s"\r\n\r\n' % name)[2].partition(b"\r\n--")[0] for name in (b"label", b"priority")
        )
        key = self.headers["Idempotency-Key"]
        if self.server.tickets.setdefault(key, payload) != payload:
            self.problem(422, "idempotency-key-reused")
        elif fault[0] == "lose":
            self.drop()
        else:
            id = list(self.server.tickets).index(key) + 1
            self.server.labels[id] = label.decode()
            self.server.priorities[id] = priority.decode()
            self.answer(202, {"id": id, "token": f"secret{id}", "state": "submitted"})

    def do_GET(self) -> None:
        fault = self.handle_faulty("GET")
        if fault is None:
            return
        if self.path == "/supportedservices":
            self.answer(200, self.server.services)
        elif self.may_see() and self.path.startswith("/status/"):
            self.answer(200, self.status())
        elif self.may_see():
            self.send_result(fault)
        else:
            self.problem(404, "not-found")

    def do_DELETE(self) -> None:
        if self.handle_faulty("DELETE") is not None:
            done = self.number() in self.server.cancelled
            self.server.cancelled.add(self.number())
            self.answer(200 if done else 202, self.status())

    def number(self) -> int:
        return int(re.findall(r"/\w+/(\d+)", self.path)[0])

    def may_see(self) -> bool:
        token = f"secret{self.number()}"
        return f"&{token}" in self.path or self.headers.get("Authorization") == f"Bearer {token}"

    def status(self) -> dict[str, Any]:
        states = self.server.states
        state = states.pop(0) if len(states) > 1 else states[0]
        if self.number() in self.server.cancelled:
            state = "cancelled"
        status = {"id": self.number(), "service": "Sum", "state": state, "position": None, "progress": None}
        return {**status, "stage": None, "eta_seconds": None, "error": None, **self.server.status_of}

    def send_result(self, fault: tuple) -> None:
        data = self.server.result
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = 0
        if wanted and self.server.ranges and self.headers.get("If-Range", etag) == etag:
            first = int(wanted[1])
        if first >= len(data):
            self.answer(416, b"", ETag=etag, Content_Range=f"bytes */{len(data)}")
            return
        body = data[first:]
        if fault[0] == "flip":
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", etag)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if fault[0] == "cut":
            self.wfile.write(body[: fault[1]])
            self.wfile.flush()
            self.drop()
        else:
            self.wfile.write(body)


@contextlib.contextmanager
def running() -> Iterator[StubServer]:
    """Run a server in threads."""
    with StubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
