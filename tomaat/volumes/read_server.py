"""The program beside a worker that reads strangers' images: one fork, limited in all it may use, per volume.

It never reads an image itself, so that no fork can meet the voxels of another patient; it has one thread at each fork.
A fork inflates and verifies compressed voxels, reads through SimpleITK with the format named, and copies the voxels
into memory that its asker sized from the checked header. It answers in JSON, once, and ends.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import mmap
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import SimpleITK as sitk
from isal import isal_zlib

from tomaat.volumes.VolumeHeader import BYTES_OF, VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

PR_SET_PDEATHSIG = 1
LARGEST_MESSAGE = 64 * 1024
STEP_BYTES = 1024**2
SPARE_BYTES = 512 * 1024**2  #: beyond the voxels, for the libraries
IMAGE_IO = {"nifti": "NiftiImageIO", "nrrd": "NrrdImageIO", "mha": "MetaImageIO"}
WINDOW = {"gzip": 31, "zlib": 15}  #: zlib's words for the format whose checksum is verified
READS = 3  #: dimensions of a volume


def die_with(parent: int) -> None:
    """Let the kernel end this process with its parent."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def limit(voxel_bytes: int) -> None:
    """Bound memory, processor time and open files; allow no file to grow and no core to be dumped."""
    status = Path("/proc/self/statm").read_text(encoding="ascii")
    mapped = int(status.split()[0]) * mmap.PAGESIZE
    seconds = 30 + voxel_bytes // 10_000_000
    for what, most in (
        (resource.RLIMIT_AS, mapped + 4 * voxel_bytes + SPARE_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(what, (most, most))


def verify(path: Path, header: VolumeHeader) -> None:
    """Inflate compressed voxels once: their length must be the header's, their checksum right, and nothing follow."""
    member = isal_zlib.decompressobj(wbits=WINDOW[header.compression])
    wanted = header.voxel_bytes + (header.voxel_offset if header.whole_file_compressed else 0)
    came = 0
    with path.open("rb") as file:
        file.seek(0 if header.whole_file_compressed else header.voxel_offset)
        while not member.eof:
            pending = file.read(STEP_BYTES)
            if not pending:
                raise VolumeRefused("truncated", "The compressed voxels end before their checksum.")
            while pending and not member.eof:
                try:
                    came += len(member.decompress(pending, STEP_BYTES))
                except isal_zlib.IsalError:  # type: ignore[misc]  # isal's stub does not say that it is one
                    raise VolumeRefused(
                        "broken", "The compressed voxels are broken, or their checksum is wrong."
                    ) from None
                pending = member.unconsumed_tail
                if came > wanted:
                    raise VolumeRefused("size", f"More than the {wanted} bytes that the header claims come out.")
        if came != wanted:
            raise VolumeRefused("size", f"The header claims {wanted} bytes of voxels; {came} come out.")
        if member.unused_data or file.read(1):
            raise VolumeRefused("trailing-data", "Something follows the compressed voxels.")


def read(path: Path, header: VolumeHeader) -> sitk.Image:
    """Read with the format named; SimpleITK's own words are not passed on, since they name the file."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(IMAGE_IO[header.format])
    reader.SetFileName(str(path))
    try:
        image = reader.Execute()
    except RuntimeError:
        raise VolumeRefused(
            "unreadable", "SimpleITK cannot read the volume (its axes may not be at right angles)."
        ) from None
    while image.GetDimension() > READS:
        image = image[..., 0]
    if image.GetDimension() < READS:
        image = sitk.JoinSeries(image)
    return cast("sitk.Image", image)


def hand_over(image: sitk.Image, header: VolumeHeader, memory: int) -> dict[str, Any]:
    """Copy the voxels into the asker's memory and describe them; they must be what the header said."""
    voxels = sitk.GetArrayViewFromImage(image)
    dtype = voxels.dtype.name
    if image.GetSize() != header.dimensions or image.GetNumberOfComponentsPerPixel() != 1:
        raise VolumeRefused("dimensions", "The volume that was read is not the one that its header describes.")
    if dtype != header.dtype and not (header.scaled and dtype in {"float32", "float64"}):
        raise VolumeRefused("voxel-type", f"The voxels were read as {dtype}; the header says {header.dtype}.")
    size = math.prod(header.dimensions) * BYTES_OF[dtype]
    with mmap.mmap(memory, size) as target:
        np.copyto(np.ndarray(voxels.shape, voxels.dtype, target), voxels)
    return {
        "dtype": dtype,
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
    }


def answer(request: dict[str, Any], memory: int) -> dict[str, Any]:
    """Do in a fork what was asked for."""
    header = VolumeHeader(**{**request["header"], "dimensions": tuple(request["header"]["dimensions"])})
    limit(header.voxel_bytes * (2 if header.scaled else 1))
    path = Path(request["path"])
    try:
        if header.compression != "none":
            verify(path, header)
        return {"volume": hand_over(read(path, header), header, memory)}
    except VolumeRefused as refusal:
        return {"refused": [refusal.code, refusal.detail]}
    except MemoryError:
        return {"refused": ["unreadable", "The volume needs more memory than its header says."]}


def serve(asker: socket.socket) -> None:
    """Fork for each request and tell how the fork ended, if it did not answer itself."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(asker, LARGEST_MESSAGE, 1)
        if not data:
            return
        request = json.loads(data)
        server = os.getpid()
        child = os.fork()
        if child == 0:
            die_with(server)
            reply = {"key": request["key"], **answer(request, descriptors[0])}
            asker.send(json.dumps(reply).encode())
            os._exit(0)
        os.close(descriptors[0])
        _, status = os.waitpid(child, 0)
        if status != 0:
            asker.send(json.dumps({"key": request["key"], "died": os.waitstatus_to_exitcode(status)}).encode())


def main() -> None:
    """Serve one asker until it is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        sys.exit(f"the image reader has {threads} threads; a fork of it would not be safe")
    serve(socket.socket(fileno=arguments.socket))


if __name__ == "__main__":
    main()
