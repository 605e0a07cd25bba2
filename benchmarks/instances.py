"""Instances of the whole service for the programs of this folder, each with a database in one private PostgreSQL."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy

from tests.hostile_images import nifti
from tests.service import Service
from tomaat.database import connect
from tomaat.postgres.private_postgres import PrivatePostgres

GIB = 1024**3
CONNECTIONS = 400  #: for 16 processes of WebService
START_SECONDS = 300.0  #: for an instance with many sources on a busy machine


class Instances:
    """Starts instances, each under a name and with a database of its own in one PostgreSQL."""

    def __init__(self, folder: Path, server: PrivatePostgres) -> None:
        self.folder = folder
        self.server = server
        self.url = server.start()
        self.made: list[Service] = []

    def execute(self, statement: str) -> None:
        """Execute a statement about the server."""
        database = connect(self.url, deadline_seconds=20)
        with database.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        database.dispose()

    def start(self, label: str, *services: str, **settings: str) -> Service:
        """Start an instance and wait until it offers the services."""
        self.execute(f"CREATE DATABASE {label}")
        (self.folder / label).mkdir()
        database = sqlalchemy.make_url(self.url).set(database=label).render_as_string(hide_password=False)
        service = Service(self.folder / label, database, **{"LEASE_SECONDS": "15", "POLL_SECONDS": "1"} | settings)
        self.made.append(service)
        service.start()
        service.wait_until_ready(*services, seconds=START_SECONDS)
        return service


@contextlib.contextmanager
def instances() -> Iterator[Instances]:
    """Give what starts instances; stop and remove all in the end."""
    with tempfile.TemporaryDirectory(prefix="tomaat-benchmark-") as name:
        server = PrivatePostgres(Path(name) / "postgres", connections=CONNECTIONS)
        try:
            given = Instances(Path(name), server)
            try:
                yield given
            finally:
                for each in given.made:
                    each.stop()
        finally:
            server.remove()


class Noise(io.RawIOBase):
    """A file of ``size`` bytes: a head, then noise."""

    def __init__(self, head: bytes, size: int) -> None:
        self.head = head
        self.left = size

    def read(self, count: int = -1) -> bytes:
        """Give the next bytes."""
        wanted = min(self.left, count if count >= 0 else self.left)
        data, self.head = self.head[:wanted], self.head[wanted:]
        self.left -= wanted
        return data + os.urandom(wanted - len(data))


def write_large_payload(path: Path) -> None:
    """Write a payload for GaussianSmoothing with 1 GiB of voxels that do not compress."""
    head = nifti(dim=(3, 1024, 1024, 512, 1, 1, 1, 1), voxels=b"")
    inputs = json.dumps({"inputs": {"sigma": 0.1}}).encode()
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, size, data in (
            ("main.json", len(inputs), io.BytesIO(inputs)),
            ("file-volume.nii", len(head) + GIB, Noise(head, len(head) + GIB)),
        ):
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, data)
