"""The payload of a request: ``main.json`` and the files of its inputs."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Callable, cast

MAIN = "main.json"
CHUNK_BYTES = 1024**2
MOST_NAMED = 20  #: files that a sentence lists
PACKS = 0.9  #: a sample that shrinks to less of itself is worth squeezing


@dataclass(frozen=True)
class Payload:
    """A service's inputs, checked against its interface. The same inputs give the same bytes."""

    service: str
    main: bytes  #: the content of ``main.json``
    files: tuple[tuple[str, Path], ...]  #: each member's name in the archive, and the file that it is
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  #: by input: files of its folder that stay
    label: str = ""  #: its user's own name for it; no part of what makes a request the same
    priority: str = ""  #: empty: as the server has it; no part of that either

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each member: by its contents, not by its files' names, a request is the same."""
        digests = {MAIN: hashlib.sha256(self.main).hexdigest()}
        for name, path in self.files:
            with path.open("rb") as file:
                digests[name] = digest_of(file)
        return digests

    def remarks(self) -> list[str]:
        """Tell which files of the folders that were given are not sent."""
        return [f"{id}: not sent, since no DICOM: {listed(names)}." for id, names in self.left_out.items() if names]

    def pack(self, to: BinaryIO, on_bytes: Callable[[int, int], object]) -> int:
        """Write the ``.tar.gz``; return its size. ``on_bytes`` hears how many bytes of how many are packed."""
        total = sum(path.stat().st_size for _, path in self.files)
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            on_bytes(done, total)

        with gzip.GzipFile(filename="", fileobj=to, mode="wb", compresslevel=self._level(), mtime=0) as packed:
            tar = tarfile.open(  # noqa: SIM115 (an error must not end the archive as if it were complete)
                fileobj=cast("BinaryIO", packed), mode="w|", format=tarfile.PAX_FORMAT
            )
            tar.addfile(_member(MAIN, len(self.main)), io.BytesIO(self.main))
            for name, path in self.files:
                with path.open("rb") as file:
                    tar.addfile(_member(name, path.stat().st_size), _Counted(file, count))
            tar.close()
        return to.tell()

    def _level(self) -> int:
        """Choose gzip's level: none for files that are compressed already, else the fastest."""
        if not self.files:
            return 1
        largest = max((path for _, path in self.files), key=lambda path: path.stat().st_size)
        with largest.open("rb") as file:
            sample = file.read(CHUNK_BYTES)
        return 1 if len(zlib.compress(sample, 1)) < PACKS * len(sample) else 0


class _Counted:
    """A file that tells how much of it is read."""

    def __init__(self, file: BinaryIO, count: Callable[[int], object]) -> None:
        self.file = file
        self.count = count

    def read(self, size: int = -1, /) -> bytes:
        data = self.file.read(size)
        self.count(len(data))
        return data


def listed(names: Sequence[str]) -> str:
    """List names, and count those beyond ``MOST_NAMED``."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def digest_of(file: BinaryIO) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info
