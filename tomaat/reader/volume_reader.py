"""Reads strangers' volumes for a worker, each in a limited process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import json
import math
import mmap
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from tomaat.headers.checks import check_most, check_size, farthest_apart_mm, open_file, open_folder
from tomaat.headers.dicom_files import file_names
from tomaat.headers.read_header import read_header
from tomaat.headers.remark import Remark, bytes_behind
from tomaat.headers.volume_header import Point, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.dicom_told import BYTES_FOR_ALL, BYTES_FOR_EACH, BYTES_FOR_FRAMES, Header, take_apart
from tomaat.reader.even import onto_even
from tomaat.reader.series import Series, arrange
from tomaat.reader.slice import Slice
from tomaat.volumes.dicom_source import FRAME_NUMBER, DicomSource, OwnImages
from tomaat.volumes.volume import Volume

log = structlog.get_logger()

LIBC = ctypes.CDLL(None)
CODE = Path(__file__).resolve().parents[2]  #: the server finds its modules from here, wherever a task has gone
LARGEST_ANSWER = 64 * 1024
LONGEST_REFUSAL = 500
START_SECONDS = 120.0  #: SimpleITK's import from a cold, slow disk
PLACE_WITHIN = 0.5  #: of the smallest spacing: how far from its header's place a volume may be read
READ_SECONDS = 120.0  #: for any volume, and more for a large one
READ_BYTES_PER_SECOND = 5_000_000
FORK_SECONDS = 30  #: of processor time for the headers, or the voxels, of a series, and one more for each image
MADV_POPULATE_WRITE = 23  #: Linux 5.14
PAGES_AT_ONCE = 8 * 1024**2  #: bytes
GUARDS = {"landlock", "seccomp"}
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class VolumeReader:
    """The asker of one ``read_server``, which is started at the first read and again when it is gone.

    To be used, and the worker's first read made, by one thread that lives as long as the worker.
    """

    def __init__(self, *, largest_voxel_bytes: float = math.inf) -> None:
        self.largest_voxel_bytes = largest_voxel_bytes
        self.server: subprocess.Popen[bytes] | None = None
        self.asked: socket.socket | None = None
        self.folder: Path | None = None
        self.missing_guards: list[str] = []  #: that do not work here, once the read server runs

    def read(
        self,
        path: Path,
        *,
        series: str | None = None,
        volume: int | None = None,
        form: str | None = None,
        resampled: bool = True,
        demand: Callable[[VolumeHeader], object] | None = None,
        tell: Callable[[Remark], object] | None = None,
    ) -> Volume:
        """Read a volume: voxels as an array of shape (i, j, k), geometry in mm in LPS.

        A folder is a DICOM series, or several of which ``series`` is the UID of one; where that has several volumes,
        ``volume`` is the number of one, from 1. A tilted or unevenly spaced one is ``resampled``, or else refused.
        ``form`` says which of a NIfTI's two places is meant. ``demand`` may refuse the headers before a voxel is read;
        ``tell`` gets what only the voxels show. Raises ``VolumeRefused`` for whatever header or voxels show, and for a
        read that died or took too long; ``OSError`` where there is no file; ``RuntimeError`` when the read server does
        not start.
        """
        if path.is_dir():
            choose = functools.partial(arrange, wanted=series, volume=volume, resampled=resampled)
            return self._read_series(path, choose, demand)
        header = read_header(path, largest_voxel_bytes=self.largest_voxel_bytes, form=form)
        if demand is not None:
            demand(header)
        with sealed_memory(header.value_bytes) as memory, open_file(path) as source:
            seconds = READ_SECONDS + header.voxel_bytes / READ_BYTES_PER_SECOND
            mapped = mmap.mmap(memory, header.value_bytes)
            reply = self._ask({"header": asdict(header)}, source.fileno(), memory, seconds, filled=mapped)
            read = _volume(_told(reply), header, mapped)
            behind = reply.get("behind")
            if tell is not None and isinstance(behind, int) and behind > 0:
                tell(bytes_behind(behind, header.slice_bytes))
            return read

    def _read_series(
        self,
        path: Path,
        choose: Callable[..., Series],
        demand: Callable[[VolumeHeader], object] | None,
    ) -> Volume:
        with open_folder(path) as folder:
            count = len(file_names(folder))
            seconds = FORK_SECONDS + count + _bytes_of(folder, range(count)) // READ_BYTES_PER_SECOND
            with sealed_memory(BYTES_FOR_ALL + count * BYTES_FOR_EACH + BYTES_FOR_FRAMES) as memory:
                asked: dict[str, Any] = {"seconds": seconds}
                length = self._ask(asked, folder, memory, READ_SECONDS + seconds).get("told")
                slices, headers, beside = take_apart(_content(memory, length))
            series = choose(slices, beside=beside)
            stored = replace(series.header, dimensions=(series.columns, series.rows, len(series.order)))
            check_size(stored, _bytes_of(folder, series.order), self.largest_voxel_bytes)
            check_most(series.header, self.largest_voxel_bytes)
            if demand is not None:
                demand(series.header)
            with sealed_memory(stored.voxel_bytes) as memory:
                asked = {
                    "seconds": seconds + len(series.order) + stored.voxel_bytes // READ_BYTES_PER_SECOND,
                    "order": series.order,
                    "frames": series.frames,
                    "columns": series.columns,
                    "rows": series.rows,
                    "dtype": series.dtype,
                    "mixed": series.mixed,
                }
                self._ask(asked, folder, memory, READ_SECONDS + asked["seconds"])
                mapped = mmap.mmap(memory, stored.voxel_bytes, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
                voxels = _voxels(mapped, stored.dimensions, series.dtype)
        own = None
        if series.places:
            own = OwnImages(columns=series.columns, rows=series.rows, places=series.places)
            voxels = onto_even(voxels.T, series.places, series.dimensions).T
        return Volume(
            array=voxels,
            spacing_mm=series.spacing_mm,
            origin_mm=series.origin_mm,
            direction=series.direction,
            dicom=DicomSource(headers=tuple(_of_slice(one, headers[one.number]) for one in series.slices), own=own),
        )

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
                    *("-m", "tomaat.reader.read_server"),
                    *("--socket", str(there.fileno())),
                    *("--parent", str(os.getpid())),
                    *("--folder", str(self.folder)),
                ],
                cwd=CODE,
                env={
                    "OPENBLAS_NUM_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
                },
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        try:
            self.missing_guards = sorted(GUARDS - set(_receive(self.asked, START_SECONDS)["guards"]))
        except (OSError, EOFError):
            self.close()
            raise RuntimeError("the read server of volumes does not start; its own words are in the log") from None
        if self.missing_guards:
            log.warning("volumes.only_limits", missing=self.missing_guards)
        return self.asked

    def _ask(
        self, asked: dict[str, Any], source: int, memory: int, seconds: float, *, filled: mmap.mmap | None = None
    ) -> dict[str, Any]:
        """Let a fork read a file or a folder, and write to memory, as is asked; raises the refusal that it tells.

        Where it will fill all of it, the pages are made here meanwhile, on another core than the fork's.
        """
        server = self.start()
        request = json.dumps({"folder": str(self.folder), **asked}).encode()
        answers, pipe = os.pipe()
        try:
            os.set_blocking(answers, False)
            try:
                socket.send_fds(server, [request], [source, memory, pipe])
            finally:
                os.close(pipe)
            if filled is not None:
                make_pages(filled, until=server)
            ended = _receive(server, seconds)["ended"]
            if ended != 0:
                raise VolumeRefused("unreadable", f"Reading the volume {ending(ended)}; it is not taken.")
            return _reply(os.read(answers, LARGEST_ANSWER))
        except (OSError, EOFError):
            self.close()
            raise VolumeRefused("unreadable", "Reading the volume did not end; it is not taken.") from None
        finally:
            os.close(answers)


def make_pages(mapped: mmap.mmap, *, until: socket.socket) -> None:
    """Make the pages of a mapping before its writer comes to them, until something can be read from ``until``.

    Python's lock is not held meanwhile: the network of another ticket may be running.
    """
    begin = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    for start in range(0, len(mapped), PAGES_AT_ONCE):
        if select.select([until], [], [], 0)[0]:
            return
        step = min(PAGES_AT_ONCE, len(mapped) - start)
        if LIBC.madvise(ctypes.c_void_p(begin + start), ctypes.c_size_t(step), MADV_POPULATE_WRITE) != 0:
            return  # an older kernel, or no memory: the fork will find out


@contextlib.contextmanager
def sealed_memory(size: int) -> Iterator[int]:
    """Make a file in memory that keeps its size: shrunk under a mapping it would end the worker."""
    memory = os.memfd_create("voxels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.truncate(memory, size)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SEALS)
        yield memory
    finally:
        os.close(memory)


def _receive(server: socket.socket, seconds: float) -> dict[str, Any]:
    """Take the server's next message; raises ``OSError`` after ``seconds``, ``EOFError`` when it is gone."""
    deadline = time.monotonic() + seconds
    server.settimeout(max(0.001, deadline - time.monotonic()))
    data = server.recv(LARGEST_ANSWER)
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


def _reply(data: bytes) -> dict[str, Any]:
    """Take the answer of a process that touched a stranger's data; raises the refusal that it tells."""
    try:
        reply = json.loads(data)
        if "refused" in reply:
            code, detail = map(str, reply["refused"])
            raise VolumeRefused(code[:LONGEST_REFUSAL], detail[:LONGEST_REFUSAL])
        return dict(reply)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _nothing_read() from None


def _told(reply: dict[str, Any]) -> dict[str, Any]:
    """Take apart the description of a volume that was read."""
    try:
        told = reply["volume"]
        direction = told["direction"]
        return {
            "dimensions": tuple(told["dimensions"]),
            "dtype": str(told["dtype"]),
            "spacing": _point(told["spacing"]),
            "origin": _point(told["origin"]),
            "direction": (_point(direction[0:3]), _point(direction[3:6]), _point(direction[6:])),
        }
    except (ValueError, KeyError, TypeError, OverflowError):
        raise _nothing_read() from None


def _of_slice(one: Slice, header: Header) -> Header:
    """Give the header of a slice; of a frame, what it says itself stands in it as an image would have it."""
    if not one.of_many:
        return header
    columns_mm, rows_mm = one.spacing_mm or (0.0, 0.0)
    return {
        **header,
        FRAME_NUMBER: {"vr": "IS", "Value": [one.frame + 1]},
        "00200032": {"vr": "DS", "Value": list(one.position_mm or ())},
        "00200037": {"vr": "DS", "Value": list(one.axes or ())},
        "00280030": {"vr": "DS", "Value": [rows_mm, columns_mm]},
    }


def _bytes_of(folder: int, numbers: Collection[int]) -> int:
    """Add up the sizes of a folder's files, by their numbers; each counts once."""
    names = file_names(folder)
    chosen = [names[number] for number in set(numbers) if 0 <= number < len(names)]
    return sum(os.stat(name, dir_fd=folder, follow_symlinks=False).st_size for name in chosen)


def _nothing_read() -> VolumeRefused:
    return VolumeRefused("unreadable", "Reading the volume gave no volume; it is not taken.")


def _content(memory: int, length: Any) -> bytes:
    """Copy the bytes that were written to a memory."""
    if not isinstance(length, int) or not 0 < length <= os.fstat(memory).st_size:
        raise _nothing_read()
    with mmap.mmap(memory, length, prot=mmap.PROT_READ) as mapped:
        return mapped[:]


def _volume(told: dict[str, Any], header: VolumeHeader, mapped: mmap.mmap) -> Volume:
    """Compare the answer with the checked header, and make the volume in place; its voxels are not copied."""
    dtype, spacing, origin, direction = told["dtype"], told["spacing"], told["origin"], told["direction"]
    if told["dimensions"] != header.dimensions:
        raise VolumeRefused("dimensions", "The volume that was read is not the one that its header describes.")
    if dtype != header.value_dtype:
        raise VolumeRefused("voxel-type", "The voxels were not read as the header says.")
    if not all(map(math.isfinite, (*spacing, *origin, *direction[0], *direction[1], *direction[2]))):
        raise VolumeRefused("header", "The volume's geometry holds a number that is not finite.")
    if min(spacing) <= 0:
        raise VolumeRefused("spacing", f"spacing: {min(spacing):g} must be more than 0 mm.")
    steps = [[row[n] * spacing[n] for row in direction] for n in range(3)]
    said = [[row[n] * header.spacing_mm[n] for row in header.direction] for n in range(3)]
    apart_mm = farthest_apart_mm((origin, steps), (header.origin_mm, said), header.dimensions)
    if apart_mm > PLACE_WITHIN * min(spacing):
        rule = f"The volume was read at a place {apart_mm:.3g} mm from that of its header; it is not taken."
        raise VolumeRefused("place", rule)
    voxels = _voxels(mapped, header.dimensions, dtype)
    return Volume(array=voxels, spacing_mm=header.spacing_mm, origin_mm=header.origin_mm, direction=header.direction)


def _voxels(mapped: mmap.mmap, dimensions: tuple[int, int, int], dtype: str) -> np.ndarray[Any, Any]:
    """Show memory as an array (i, j, k) of which i runs fastest; nothing is copied."""
    return np.ndarray(dimensions[::-1], np.dtype(dtype), mapped).transpose(2, 1, 0)


def _point(numbers: list[float]) -> Point:
    x, y, z = (float(number) for number in numbers)
    return x, y, z
