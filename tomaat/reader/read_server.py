"""The program beside a worker that reads strangers' images: one fork, limited in all it may use, per volume.

It never reads an image itself, so that no fork can meet the voxels of another patient; it has one thread at each fork.
A fork brings the voxels into memory that its asker sized from the checked header: inflated and verified, or copied by
the kernel where they are not compressed. SimpleITK reads the header, with the format named; size, type and place must
be what the checks found. It answers in JSON, once, and ends. For a DICOM series there are two: one writes what the
headers say into the memory, as JSON, and when its asker has arranged and checked that, the next one writes the voxels.

::

    asker ── path's descriptor, memory, pipe ──▶ server ── fork ──▶ limits ──▶ voxels ──▶ SimpleITK
      ▲ ▲                                          │                            │ broken,    │ unreadable,
      │ └──────────── how the fork ended ──────────┘                            │ size, …    │ voxel-type, …
      └────────────────────────── geometry or refusal, through the pipe ────────┴────────────┘

SimpleITK never gets the name of the file, since some of its readers look for others beside it. It opens ``volume.nii``
in the asker's own folder, a link to the descriptor ``SHOWN_AS`` of itself; behind that lies the plain header, of the
fields that govern, before a hole as long as the voxels. Where the checks read a header by rules that SimpleITK does not
have (``own_rules``), it is not asked.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import resource
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import SimpleITK as sitk

from tomaat.headers.checks import MOST_PIXELS
from tomaat.headers.dicom_files import file_names
from tomaat.headers.remark import Remark
from tomaat.headers.volume_header import BYTES_OF, VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.processes.dying import die_with_parent
from tomaat.processes.proc import own_mapped_bytes, own_threads
from tomaat.reader import dicom_read
from tomaat.reader.confine import landlock, offered, seccomp
from tomaat.reader.frames import HEAD_BYTES
from tomaat.reader.inflate import inflate, plain_head

LARGEST_REQUEST = 128 * 1024  #: 5,000 slices, each with its file's number and its own
SPARE_BYTES = 128 * 1024**2  #: beyond the voxels, for the libraries
DECODED_BYTES = 48  #: for each pixel of the image that is decoded: GDCM was seen to take 34, of 16 bits, rescaled
WRITTEN_BYTES = 5  #: for each pixel of a frame, compressed or not: one of 32 bits that packing made no smaller
LOOKED_AT_BYTES = 24  #: for each pixel of an image of which GDCM reads the header: of RLE it decodes all (22 were seen)
LOOKED_AT_RATIO = 700  #: at most, for each byte of the file: RLE makes 64 bytes of one
MOST_DESCRIPTORS = 64
SHOWN_AS = MOST_DESCRIPTORS - 1  #: the descriptor behind which SimpleITK finds the volume
IMAGE_IO = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "mha": "MetaImageIO"}
NAMES = {"nifti": "volume.nii", "nrrd": "volume.nrrd", "mha": "volume.mha", "dicom": dicom_read.SHOWN_FILE}
DTYPES = {getattr(sitk, name): name[4:].lower() for name in dir(sitk) if name[4:].lower() in BYTES_OF}
AXES = 3  #: of a volume
SCALED_AT_ONCE = 1024**2  #: voxels, which need 16 bytes each meanwhile
BYTES_PER_SECOND = 10_000_000  #: of voxels, that a fork must manage


def make_names(folder: Path) -> None:
    """Make the names under which SimpleITK finds the file behind ``SHOWN_AS`` in its own process."""
    for name in NAMES.values():
        (folder / name).symlink_to(f"/proc/self/fd/{SHOWN_AS}")


def limit(memory_bytes: int, seconds: int) -> None:
    """Bound memory beyond the libraries' own, processor time and open files; let no file grow, dump no core."""
    mapped = own_mapped_bytes()
    for what, soft, hard in (
        (resource.RLIMIT_AS, mapped + memory_bytes + SPARE_BYTES, None),
        (resource.RLIMIT_CPU, seconds, seconds + 5),
        (resource.RLIMIT_FSIZE, 0, None),
        (resource.RLIMIT_CORE, 0, None),
        (resource.RLIMIT_NOFILE, MOST_DESCRIPTORS, None),
    ):
        resource.setrlimit(what, (soft, soft if hard is None else hard))


def open_image(name: Path, header: VolumeHeader) -> sitk.ImageFileReader:
    """Let SimpleITK read the header, with the format named; its own words are not passed on: they name the file."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[header.format])
    reader.SetFileName(str(name))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise VolumeRefused("unreadable", "SimpleITK cannot read the volume's header.") from None
    return reader


def copy(source: int, header: VolumeHeader, voxels: mmap.mmap) -> None:
    """Let the kernel copy voxels that are not compressed."""
    place = 0
    while place < header.voxel_bytes:
        with memoryview(voxels)[place:] as rest:
            step = os.preadv(source, [rest], header.voxel_offset + place)
        if step == 0:
            raise VolumeRefused("size", f"The header claims {header.voxel_bytes} bytes of voxels; {place} are there.")
        place += step


def scale(raw: mmap.mmap, header: VolumeHeader, memory: int) -> None:
    """Scale the voxels on disk by NIfTI's slope and intercept into the asker's memory, piece by piece."""
    count = math.prod(header.dimensions)
    values: np.ndarray[Any, Any] = np.ndarray(count, header.value_dtype, mmap.mmap(memory, 0))
    voxels: np.ndarray[Any, Any] = np.ndarray(count, on_disk(header), raw)
    for start in range(0, count, SCALED_AT_ONCE):
        part = slice(start, start + SCALED_AT_ONCE)
        values[part] = voxels[part] * np.float64(header.slope) + header.intercept


def on_disk(header: VolumeHeader) -> np.dtype[Any]:
    """Give numpy's type of the voxels as they lie in the file."""
    return np.dtype(header.dtype).newbyteorder("<" if header.byte_order == "little" else ">")


def describe(reader: sitk.ImageFileReader, header: VolumeHeader) -> dict[str, Any]:
    """Tell the geometry that SimpleITK read; it must be the one that the header said. One slice is a volume too."""
    dtype = DTYPES.get(reader.GetPixelID(), "no type of ours")
    count = reader.GetDimension()
    size = (*reader.GetSize(), 1)
    if size[:AXES] != header.dimensions or math.prod(size[AXES:]) != 1 or reader.GetNumberOfComponents() != 1:
        raise VolumeRefused("dimensions", "The volume that was read is not the one that its header describes.")
    if dtype != header.value_dtype:
        raise VolumeRefused("voxel-type", f"The voxels were read as {dtype}; the header says {header.value_dtype}.")
    direction = np.eye(max(count, AXES))
    direction[:count, :count] = np.reshape(reader.GetDirection(), (count, count))
    return {
        "dimensions": header.dimensions,
        "dtype": dtype,
        "spacing": (*reader.GetSpacing(), 1.0)[:AXES],
        "origin": (*reader.GetOrigin(), *header.origin_mm[count:])[:AXES],
        "direction": direction[:AXES, :AXES].ravel().tolist(),
    }


def as_said(header: VolumeHeader) -> dict[str, Any]:
    """Tell the geometry that the header said, where SimpleITK has other rules."""
    return {
        "dimensions": header.dimensions,
        "dtype": header.value_dtype,
        "spacing": header.spacing_mm,
        "origin": header.origin_mm,
        "direction": np.ravel(header.direction).tolist(),
    }


def answer(source: int, memory: int, asked: dict[str, Any], guards: list[str]) -> dict[str, Any]:
    """Answer a request, in a fork; a refusal is an answer too."""
    try:
        if "header" in asked:
            return answer_file(source, memory, asked, guards)
        return answer_series(source, memory, asked, guards)
    except VolumeRefused as refusal:
        return {"refused": [refusal.code, refusal.detail]}
    except MemoryError:
        return {"refused": ["unreadable", "The volume needs more memory than its header says."]}


def answer_file(source: int, memory: int, asked: dict[str, Any], guards: list[str]) -> dict[str, Any]:
    """Read one file, once all that this does not need is taken from the process."""
    header = header_of(asked["header"])
    compressed = header.compression != "none"
    head = bytearray(plain_head(source, header))
    shown = os.memfd_create("head")
    os.truncate(shown, max(len(head), header.voxel_offset) + header.voxel_bytes)
    os.dup2(shown, SHOWN_AS)
    memory_bytes = os.fstat(memory).st_size + header.voxel_bytes
    confine(memory_bytes, 30 + memory_bytes // BYTES_PER_SECOND, guards, None)
    voxels = mmap.mmap(-1 if header.scaled else memory, header.voxel_bytes)
    behind = 0
    if compressed:
        behind = inflate(source, header, head, voxels)
    else:
        copy(source, header, voxels)
    with mmap.mmap(shown, len(head)) as target:
        target[:] = head
    if header.scaled:
        scale(voxels, header, memory)
    elif not on_disk(header).isnative:
        np.ndarray(header.dimensions, header.dtype, voxels).byteswap(inplace=True)
    if header.own_rules:
        return {"volume": as_said(header), "behind": behind}
    return {
        "volume": describe(open_image(Path(asked["folder"], NAMES[header.format]), header), header),
        "behind": behind,
    }


def header_of(asked: dict[str, Any]) -> VolumeHeader:
    """Make the checked header again of what the asker sent."""
    remarks = tuple(Remark(**remark) for remark in asked["remarks"])
    return VolumeHeader(**{**asked, "dimensions": tuple(asked["dimensions"]), "remarks": remarks})


def answer_series(source: int, memory: int, asked: dict[str, Any], guards: list[str]) -> dict[str, Any]:
    """Read the headers of a folder's images, or the voxels of some of them, likewise."""
    memory_bytes = os.fstat(memory).st_size
    largest = max(os.stat(name, dir_fd=source, follow_symlinks=False).st_size for name in file_names(source))
    if "order" in asked:
        decoder_bytes = DECODED_BYTES * asked["columns"] * asked["rows"]
        single_bytes = HEAD_BYTES + WRITTEN_BYTES * asked["columns"] * asked["rows"]
    else:
        decoder_bytes = min(LOOKED_AT_BYTES * MOST_PIXELS, LOOKED_AT_RATIO * largest)
        single_bytes = HEAD_BYTES
    single = os.memfd_create("image")
    os.truncate(single, single_bytes)
    confine(memory_bytes + 4 * (largest + single_bytes) + decoder_bytes, asked["seconds"], guards, source)
    file = Path(asked["folder"], dicom_read.SHOWN_FILE)
    shown = dicom_read.ShownFiles(folder=source, shown_as=SHOWN_AS, file=file, single=single)
    if "order" in asked:
        dicom_read.fill(shown, asked, memory)
        return {"filled": True}
    told = json.dumps(dicom_read.tell(shown)).encode()
    if len(told) > memory_bytes:
        raise VolumeRefused("header", "The headers of the DICOM images say too much.")
    with mmap.mmap(memory, memory_bytes) as target:
        target[: len(told)] = told
    return {"told": len(told)}


def confine(memory_bytes: int, seconds: int, guards: list[str], readable: int | None) -> None:
    """Take from this process all that it does not need; it may open the files of the folder ``readable``."""
    limit(memory_bytes, seconds)
    if "landlock" in guards:
        landlock(readable)
    if "seccomp" in guards:
        seccomp()


def run_fork(server: int, asker: socket.socket, request: bytes, descriptors: list[int], guards: list[str]) -> NoReturn:
    """Be the fork: answer through the pipe and end, whatever happens."""
    try:
        die_with_parent(server, signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asker.close()
        source, memory, pipe = descriptors
        reply = answer(source, memory, json.loads(request), guards)
        os.write(pipe, json.dumps(reply).encode())
        os._exit(0)
    finally:
        os._exit(1)


def serve(asker: socket.socket, guards: list[str]) -> None:
    """Fork for each request and tell how the fork ended, until the asker is gone."""
    server = os.getpid()
    while True:
        request, descriptors, _, _ = socket.recv_fds(asker, LARGEST_REQUEST, 3)
        if not request:
            return
        threads = own_threads()
        if threads != 1:
            sys.exit(f"the image reader has {threads} threads; a fork of it would not be safe")
        child = os.fork()
        if child == 0:
            run_fork(server, asker, request, descriptors, guards)
        for descriptor in descriptors:
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        asker.send(json.dumps({"ended": os.waitstatus_to_exitcode(status)}).encode())


def main() -> None:
    """Serve one asker until it is gone; remove the asker's folder then, which it may no longer be able to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the asker decides when it ends
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        die_with_parent(arguments.parent, signal.SIGTERM)
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        dicom_read.prepare()
        make_names(arguments.folder)
        asker = socket.socket(fileno=arguments.socket)
        guards = offered()
        asker.send(json.dumps({"guards": guards}).encode())
        os.dup2(1, 2)  # from here on, what libraries print is about strangers' images
        serve(asker, guards)
    finally:
        shutil.rmtree(arguments.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
