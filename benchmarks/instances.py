"""Instances of the whole service for the programs of this folder, each with a database in one private PostgreSQL."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy

from tests.hostile_images import nifti
from tests.service import Service
from tomaat.database import connect
from tomaat.postgres.private_postgres import PrivatePostgres

GIB = 1024**3
CHUNK_BYTES = 1024**2


@contextlib.contextmanager
def instances() -> Iterator[tuple[Path, Callable[..., Service]]]:
    """Give a folder and a function that starts an instance under a name; stop and remove all in the end."""
    with tempfile.TemporaryDirectory(prefix="tomaat-benchmark-") as name:
        folder = Path(name)
        server = PrivatePostgres(folder / "postgres")
        url = server.start()
        made: list[Service] = []

        def start(label: str, *services: str, **settings: str) -> Service:
            with connect(url, deadline_seconds=20).connect() as connection:
                connection.execute(sqlalchemy.text(f"CREATE DATABASE {label}"))
            (folder / label).mkdir()
            database = sqlalchemy.make_url(url).set(database=label).render_as_string(hide_password=False)
            settings = {"LEASE_SECONDS": "15", "POLL_SECONDS": "1"} | settings
            made.append(Service(folder / label, database, **settings))
            made[-1].start()
            made[-1].wait_until_ready(*services)
            return made[-1]

        try:
            yield folder, start
        finally:
            for each in made:
                each.stop()
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
