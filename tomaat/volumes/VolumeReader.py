"""Reads strangers' volumes for a worker, each in a limited process of its own."""

from __future__ import annotations

import json
import math
import mmap
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tomaat.volumes.headers import LARGEST_VOXEL_BYTES, read_header
from tomaat.volumes.Volume import Point, Volume
from tomaat.volumes.VolumeHeader import BYTES_OF, VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

REPOSITORY = Path(__file__).resolve().parents[2]
LARGEST_MESSAGE = 64 * 1024
ORTHONORMAL_WITHIN = 1e-4


class ReaderGone(Exception):
    """The read server did not answer and was ended; the next read starts another."""


class VolumeReader:
    """The asker of one ``read_server``, which is started at the first read and again when it is gone.

    To be used, and the worker's first read made, by one thread that lives as long as the worker.
    """

    def __init__(self, *, largest_voxel_bytes: int = LARGEST_VOXEL_BYTES) -> None:
        self.largest_voxel_bytes = largest_voxel_bytes
        self.server: subprocess.Popen[bytes] | None = None
        self.asked: socket.socket | None = None

    def read(self, path: Path) -> Volume:
        """Read a volume. Raises ``VolumeRefused`` for whatever header or voxels show, and for a read that died."""
        header = read_header(path, largest_voxel_bytes=self.largest_voxel_bytes)
        largest = math.prod(header.dimensions) * (8 if header.scaled else BYTES_OF[header.dtype])
        memory = os.memfd_create("voxels", os.MFD_CLOEXEC)
        try:
            os.truncate(memory, largest)
            told = self._ask(path, header, memory)
            return _volume(told, header, memory)
        finally:
            os.close(memory)

    def close(self) -> None:
        """End the read server."""
        if self.server is not None and self.asked is not None:
            self.asked.close()
            self.server.kill()
            self.server.wait()
        self.server = self.asked = None

    def start(self) -> None:
        """Start the read server ahead of the first read."""
        if self.server is not None and self.server.poll() is None:
            return
        self.close()
        self.asked, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self.server = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "tomaat.volumes.read_server"),
                    *("--socket", str(there.fileno())),
                    *("--parent", str(os.getpid())),
                ],
                cwd=REPOSITORY,
                env={
                    "PYTHONPATH": str(REPOSITORY),
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
                },
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def _ask(self, path: Path, header: VolumeHeader, memory: int) -> dict[str, Any]:
        self.start()
        key = secrets.token_hex(8)
        request = {"key": key, "path": str(path.absolute()), "header": asdict(header)}
        deadline = time.monotonic() + 120 + header.voxel_bytes / 5_000_000
        try:
            reply = self._exchange(json.dumps(request).encode(), memory, key, deadline)
        except (OSError, ReaderGone):
            self.close()
            raise VolumeRefused("unreadable", "Reading the volume did not end; it is not taken.") from None
        if "refused" in reply:
            raise VolumeRefused(*reply["refused"])
        if "died" in reply:
            raise VolumeRefused("unreadable", f"Reading the volume ended by {ending(reply['died'])}; it is not taken.")
        told: dict[str, Any] = reply["volume"]
        return told

    def _exchange(self, request: bytes, memory: int, key: str, deadline: float) -> dict[str, Any]:
        if self.asked is None:
            raise ReaderGone
        socket.send_fds(self.asked, [request], [memory])
        while True:
            self.asked.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.asked.recv(LARGEST_MESSAGE)
            if not data:
                raise ReaderGone
            reply: dict[str, Any] = json.loads(data)
            if reply.get("key") == key:
                return reply


def ending(code: int) -> str:
    """Say how the reading process ended."""
    return f"signal {-code}" if code < 0 else f"status {code}"


def _volume(told: dict[str, Any], header: VolumeHeader, memory: int) -> Volume:
    """Check what a process that touched a stranger's data tells, and make the volume."""
    dtype = told["dtype"]
    if dtype != header.dtype and not (header.scaled and dtype in {"float32", "float64"}):
        raise VolumeRefused("voxel-type", "The voxels were not read as the header says.")
    spacing, origin = _point(told["spacing"]), _point(told["origin"])
    numbers = told["direction"]
    direction = (_point(numbers[0:3]), _point(numbers[3:6]), _point(numbers[6:9]))
    axes = np.asarray(direction)
    if min(spacing) <= 0 or not np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=ORTHONORMAL_WITHIN):
        raise VolumeRefused("direction", "The volume's axes are not at right angles; resample it to a regular grid.")
    mapped = mmap.mmap(memory, math.prod(header.dimensions) * BYTES_OF[dtype])
    voxels: np.ndarray[Any, Any] = np.ndarray(header.dimensions[::-1], np.dtype(dtype), mapped)
    return Volume(array=voxels.transpose(2, 1, 0), spacing_mm=spacing, origin_mm=origin, direction=direction)


def _point(numbers: list[float]) -> Point:
    x, y, z = (float(number) for number in numbers)
    if not all(map(math.isfinite, (x, y, z))):
        raise VolumeRefused("header", "The volume's geometry holds a number that is not finite.")
    return x, y, z
