"""The whole service as separate processes, each to be killed at will, and a client of it."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests
import sqlalchemy

from tomaat.database import connect

REPOSITORY = Path(__file__).resolve().parents[1]
DOORS = ("WebService.py", "QueueManager.py", "TaskScheduling.py")
ENDED = {"succeeded", "failed", "cancelled", "expired"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def payload(inputs: dict[str, Any], **files: bytes) -> bytes:
    """Pack a payload; the keyword `volume_nii_gz` becomes the member `file-volume.nii.gz`."""
    members = {"main.json": json.dumps({"inputs": inputs}).encode()}
    members |= {f"file-{name.replace('_', '.', 1).replace('_', '.')}": data for name, data in files.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Service:
    """One instance with its doors; a client of it besides."""

    def __init__(self, folder: Path, database_url: str, **settings: str) -> None:
        self.folder = folder
        self.database_url = database_url
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TOMAAT_")} | {
            "TOMAAT_PORT": str(self.port),
            "TOMAAT_BASE_STORAGE_DIR": str(folder / "storage"),
            "TOMAAT_DATABASE_URL": database_url,
            "TOMAAT_LEASE_SECONDS": "15",  # a statement's deadline hangs on it: on a busy machine, too, one is answered
            "TOMAAT_POLL_SECONDS": "0.5",
            "TOMAAT_GRACE_SECONDS": "2",
            "TOMAAT_HOST_NAME": "test",
            "TOMAAT_SPARE_WORKER": "false",  # its imports cost the machine more than all else at the start of a service
            **{f"TOMAAT_{name}": value for name, value in settings.items()},
        }
        self.doors: dict[str, subprocess.Popen[bytes]] = {}
        self.before: Callable[[str], list[str]] = lambda _: []  #: words before a door's command

    def start(self, *doors: str) -> None:
        for door in doors or DOORS:
            with self.log_of(door).open("ab") as log:
                self.doors[door] = subprocess.Popen(
                    [*self.before(door), sys.executable, door],
                    cwd=REPOSITORY,
                    env=self.environment,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

    def log_of(self, door: str) -> Path:
        return self.folder / f"{door}.log"

    def log(self, door: str) -> str:
        return self.log_of(door).read_text()

    def kill(self, door: str) -> None:
        self.doors[door].kill()
        self.doors[door].wait()

    def terminate(self, door: str, timeout: float = 15) -> int:
        self.doors[door].send_signal(signal.SIGTERM)
        return self.doors[door].wait(timeout)

    def stop(self) -> None:
        for door in self.doors.values():
            if door.poll() is None:
                door.terminate()
        for door in self.doors.values():
            try:
                door.wait(20)
            except subprocess.TimeoutExpired:
                door.kill()
                door.wait()

    def wait_until_ready(self, *services: str, seconds: float = 90) -> None:
        wanted = set(services or ("FloatComputation", "Dummy", "GaussianSmoothing"))
        self.until(lambda: wanted <= {s["name"] for s in self.services() if s["available"]}, seconds)

    def until(self, true: Any, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if true():
                    return
            except (requests.RequestException, ValueError, KeyError):
                pass
            time.sleep(0.05)
        logs = "\n".join(f"--- {door}\n{self.log(door)[-3000:]}" for door in self.doors)
        raise AssertionError(f"did not become true within {seconds} s\n{logs}")

    def services(self) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/supportedservices", timeout=10)
        answer.raise_for_status()
        return answer.json()

    def get(self, path: str, tries: int = 5) -> requests.Response:
        """Ask for something of a ticket; as any client should, again when a 503 says so."""
        answer = requests.get(f"{self.url}{path}", timeout=90)
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or tries == 1:
            return answer
        time.sleep(float(answer.headers["Retry-After"]))
        return self.get(path, tries - 1)

    def post(self, service: str, data: bytes) -> requests.Response:
        return requests.post(
            f"{self.url}/request",
            data={"service": service},
            files={"payload": ("payload.tar.gz", data, "application/gzip")},
            timeout=60,
        )

    def submit(self, service: str, inputs: dict[str, Any], **files: bytes) -> dict[str, Any]:
        answer = self.post(service, payload(inputs, **files))
        assert answer.status_code == 202, answer.text
        return answer.json()

    def status(self, ticket: dict[str, Any], query: str = "") -> dict[str, Any]:
        answer = self.get(f"{ticket['links']['status']}{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait(self, ticket: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
        """Follow a ticket to its end, through outages of the web service."""
        self.until(lambda: self.status(ticket)["state"] in ENDED, seconds)
        return self.status(ticket)

    def result(self, ticket: dict[str, Any]) -> dict[str, bytes]:
        answer = self.get(ticket["links"]["result"])
        assert answer.status_code == 200, answer.text
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            return {member.name: archive.extractfile(member).read() for member in archive.getmembers()}

    def rows(self, sql: str, **values: Any) -> list[sqlalchemy.Row]:
        database = connect(self.database_url, deadline_seconds=10)
        try:
            with database.connect() as connection:
                result = connection.execute(sqlalchemy.text(sql), values)
                return list(result) if result.returns_rows else []
        finally:
            database.dispose()

    def worker_pid(self, source: str = "test/cpu-0", lane: int = 1) -> int:
        return self.rows("SELECT pid FROM workers WHERE source = :name AND lane = :lane", name=source, lane=lane)[0].pid
