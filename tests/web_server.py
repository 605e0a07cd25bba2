"""The web side behind the real server, on a free port; the database is a stand-in."""

import json
import socket
import tempfile
import time

import requests

from tests.unit.fake_store import GOOD, Web
from tomaat.web.http.serve import WebServer, bind


class Server(Web):
    """The application behind waitress on a free port."""

    def __init__(self, folder, *, threads=4, most_of_one_address=50, largest_spools_bytes=2**30, **how):
        super().__init__(folder, places=threads // 2, **{"proxies": ["127.0.0.1"], **how})
        self.most_of_one_address = most_of_one_address
        self.largest_spools_bytes = largest_spools_bytes
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.threads = threads
        self.server = self.listen("127.0.0.1")
        self.server.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def listen(self, host):
        return WebServer(
            self.gate,
            sockets=bind(host, self.port),
            threads=self.threads,
            most_connections_of_one_address=self.most_of_one_address,
            largest_spools_bytes=self.largest_spools_bytes,
            temporary=self.storage.temporary,
            note_refused=self.metrics.note_refused,
        )

    def send(self, payload=GOOD, **how):
        files = {"payload": ("payload.tar.gz", payload)}
        return requests.post(
            f"{self.url}/request", data={"service": "FloatComputation"}, files=files, timeout=30, **how
        )

    def get(self, path, **how):
        return requests.get(self.url + path, timeout=30, **how)

    def connect(self, receive_bytes=None):
        """A raw connection, for what no proper client does."""
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def stop(self):
        self.close()
        self.server.stop()
        tempfile.tempdir = None  # the server chose one for its process, which here is everybody's


def until(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_all(connection):
    data = bytearray()
    while chunk := connection.recv(65536):
        data += chunk
    return bytes(data)


def problem_in(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert b"no-referrer" in head
    return int(head.split()[1]), json.loads(body)
