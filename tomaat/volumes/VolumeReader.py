"""Reads strangers' volumes for a worker, each in a limited process of its own."""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from tomaat.volumes.checks import open_file
from tomaat.volumes.headers import LARGEST_VOXEL_BYTES, read_header
from tomaat.volumes.Volume import Point, Volume
from tomaat.volumes.VolumeHeader import BYTES_OF, VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

log = structlog.get_logger()

REPOSITORY = Path(__file__).resolve().parents[2]
LARGEST_MESSAGE = 64 * 1024
LONGEST_REFUSAL = 500
ORTHONORMAL_WITHIN = 1e-4
START_SECONDS = 120.0  #: SimpleITK's import from a cold, slow disk
READ_SECONDS = 120.0  #: for any volume, and more for a large one
READ_BYTES_PER_SECOND = 5_000_000
GUARDS = {"landlock", "seccomp"}
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class VolumeReader:
    """The asker of one ``read_server``, which is started at the first read and again when it is gone.

    To be used, and the worker's first read made, by one thread that lives as long as the worker.
    """

    def __init__(self, *, largest_voxel_bytes: int = LARGEST_VOXEL_BYTES) -> None:
        self.largest_voxel_bytes = largest_voxel_bytes
        self.server: subprocess.Popen[bytes] | None = None
        self.asked: socket.socket | None = None
        self.folder: Path | None = None

    def read(self, path: Path) -> Volume:
        """Read a volume: voxels as an array of shape (i, j, k), geometry in mm in LPS.

        Raises ``VolumeRefused`` for whatever header or voxels show, and for a read that died or took too long;
        ``OSError`` where there is no file; ``RuntimeError`` when the read server does not start.
        """
        header = read_header(path, largest_voxel_bytes=self.largest_voxel_bytes)
        largest = math.prod(header.dimensions) * (8 if header.scaled else BYTES_OF[header.dtype])
        memory = os.memfd_create("voxels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(memory, largest)
            fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)  # shrunk under a mapping it would end the worker
            with open_file(path) as source:
                told = self._ask(source.fileno(), header, memory)
            return _volume(told, header, memory)
        finally:
            os.close(memory)

    def close(self) -> None:
        """End the read server, and a read in it."""
        if self.asked is not None:
            self.asked.close()
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.server = self.asked = self.folder = None

    def start(self) -> socket.socket:
        """Start the read server, unless it runs, ahead of the first read; raises ``RuntimeError`` if it does not."""
        if self.asked is not None and self.server is not None and self.server.poll() is None:
            return self.asked
        self.close()
        self.asked, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.folder = Path(tempfile.mkdtemp(prefix="tomaat-reader-"))
        with there:
            self.server = subprocess.Popen(
                [
                    sys.executable,
                    *("-m", "tomaat.volumes.read_server"),
                    *("--socket", str(there.fileno())),
                    *("--parent", str(os.getpid())),
                    *("--folder", str(self.folder)),
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
            )
        try:
            missing = GUARDS - set(_receive(self.asked, START_SECONDS)["guards"])
        except (OSError, EOFError):
            self.close()
            raise RuntimeError("the read server of volumes does not start; its own words are in the log") from None
        if missing:
            log.warning("volumes.only_limits", missing=sorted(missing))
        return self.asked

    def _ask(self, source: int, header: VolumeHeader, memory: int) -> dict[str, Any]:
        server = self.start()
        request = json.dumps({"folder": str(self.folder), "header": asdict(header)}).encode()
        answers, pipe = os.pipe()
        try:
            os.set_blocking(answers, False)
            try:
                socket.send_fds(server, [request], [source, memory, pipe])
            finally:
                os.close(pipe)
            ended = _receive(server, READ_SECONDS + header.voxel_bytes / READ_BYTES_PER_SECOND)["ended"]
            if ended != 0:
                raise VolumeRefused("unreadable", f"Reading the volume {ending(ended)}; it is not taken.")
            return _told(os.read(answers, LARGEST_MESSAGE))
        except (OSError, EOFError):
            self.close()
            raise VolumeRefused("unreadable", "Reading the volume did not end; it is not taken.") from None
        finally:
            os.close(answers)


def _receive(server: socket.socket, seconds: float) -> dict[str, Any]:
    """Take the server's next message; raises ``OSError`` after ``seconds``, ``EOFError`` when it is gone."""
    deadline = time.monotonic() + seconds
    server.settimeout(max(0.001, deadline - time.monotonic()))
    data = server.recv(LARGEST_MESSAGE)
    if not data:
        raise EOFError
    message: dict[str, Any] = json.loads(data)
    return message


def ending(code: int) -> str:
    """Say how the reading process ended, from its exit status.

    >>> ending(-11)
    'ended by signal 11'
    """
    if code == -signal.SIGXCPU:
        return "took more processor time than a volume of its size may"
    return f"ended by signal {-code}" if code < 0 else f"ended with status {code}"


def _told(data: bytes) -> dict[str, Any]:
    """Take apart what a process that touched a stranger's data tells; raises the refusal that it tells."""
    try:
        reply = json.loads(data)
        if "refused" in reply:
            code, detail = map(str, reply["refused"])
            raise VolumeRefused(code[:LONGEST_REFUSAL], detail[:LONGEST_REFUSAL])
        told = reply["volume"]
        direction = told["direction"]
        return {
            "dimensions": tuple(told["dimensions"]),
            "dtype": str(told["dtype"]),
            "spacing": _point(told["spacing"]),
            "origin": _point(told["origin"]),
            "direction": (_point(direction[0:3]), _point(direction[3:6]), _point(direction[6:])),
        }
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise VolumeRefused("unreadable", "Reading the volume gave no volume; it is not taken.") from None


def _volume(told: dict[str, Any], header: VolumeHeader, memory: int) -> Volume:
    """Hold what was told against the checked header, and make the volume; its voxels are not copied."""
    dtype, spacing, origin, direction = told["dtype"], told["spacing"], told["origin"], told["direction"]
    if told["dimensions"] != header.dimensions:
        raise VolumeRefused("dimensions", "The volume that was read is not the one that its header describes.")
    if dtype != header.dtype and not (header.scaled and dtype in {"float32", "float64"}):
        raise VolumeRefused("voxel-type", "The voxels were not read as the header says.")
    if not all(map(math.isfinite, (*spacing, *origin, *direction[0], *direction[1], *direction[2]))):
        raise VolumeRefused("header", "The volume's geometry holds a number that is not finite.")
    if min(spacing) <= 0:
        raise VolumeRefused("spacing", f"spacing: {min(spacing):g} must be more than 0 mm.")
    axes = np.asarray(direction)
    if not np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=ORTHONORMAL_WITHIN):
        raise VolumeRefused(
            "direction",
            f"direction: the volume's axes are not at right angles within {ORTHONORMAL_WITHIN:g}; "
            "resample it to a regular grid.",
        )
    size = math.prod(header.dimensions) * BYTES_OF[dtype]
    mapped = mmap.mmap(memory, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
    voxels: np.ndarray[Any, Any] = np.ndarray(header.dimensions[::-1], np.dtype(dtype), mapped)
    return Volume(array=voxels.transpose(2, 1, 0), spacing_mm=spacing, origin_mm=origin, direction=direction)


def _point(numbers: list[float]) -> Point:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
