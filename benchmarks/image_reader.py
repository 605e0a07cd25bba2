"""Measure the cost of the guarded reading of volumes, and what it keeps in: ``python3 -m benchmarks.image_reader``.

Reads a 26 MB volume through the limited process and, alternating, by SimpleITK in this process; then reads poisoned
images after a victim's and looks for the victim's voxels; then times every hostile image.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import SimpleITK as sitk

from benchmarks.scans import middle_voxels
from tests.hostile_images import HOSTILE
from tomaat.headers import VolumeRefused, read_header
from tomaat.reader import VolumeReader

ROUNDS = 15
POISONED = 1000
VICTIM = 0x5A17


def seconds(action: Callable[[], Any]) -> float:
    """Time an action."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def read_unguarded(path: Path) -> None:
    """Read an image's voxels in this process."""
    sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def measure_cost(reader: VolumeReader, folder: Path) -> None:
    """Print, for each format, the guarded reading beside the unguarded one."""
    image = sitk.GetImageFromArray(middle_voxels())
    print("| 26 MB volume | guarded | SimpleITK in the worker | ratio of medians |\n| --- | --- | --- | --- |")
    for name in ("x.nii.gz", "x.nii", "x.mha", "x.nrrd"):
        path = folder / name
        sitk.WriteImage(image, str(path), useCompression=name != "x.nii")
        guarded, direct = [], []
        for _ in range(ROUNDS):
            guarded.append(seconds(partial(reader.read, path)))
            direct.append(seconds(partial(read_unguarded, path)))
        ours, theirs = statistics.median(guarded), statistics.median(direct)
        print(f"| {name} | {1000 * ours:.0f} ms | {1000 * theirs:.0f} ms | {ours / theirs:.2f} |", flush=True)


def look_for_the_victim(reader: VolumeReader, folder: Path) -> None:
    """Read poisoned images, each after a victim's, and count the victim's voxels in what comes back."""
    victim = folder / "victim.mha"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((6, 5, 4), VICTIM, np.int16)), str(victim), useCompression=True)
    reached = list(those_with_a_good_header(folder))
    refused = found = 0
    for number in range(POISONED):
        name, data = reached[number % len(reached)]
        poisoned = folder / name
        poisoned.write_bytes(data)
        reader.read(victim)
        try:
            found += int((reader.read(poisoned).array == VICTIM).sum())
        except VolumeRefused:
            refused += 1
        poisoned.unlink()
    print(
        f"\n{POISONED} images of {len(reached)} kinds, whose headers are good and whose voxels are not, each after a "
        f"victim's: {refused} refused, {found} voxels of the victim came back."
    )


def measure_hostile(reader: VolumeReader, folder: Path) -> None:
    """Read every hostile image; print the longest time and the most memory above idle, here and in the readers."""
    server = psutil.Process(reader.server.pid) if reader.server else psutil.Process()
    here = psutil.Process()
    idle = {"here": here.memory_info().rss, "reader": server.memory_info().rss}
    most = {"here": 0, "reader": 0}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            most["here"] = max(most["here"], here.memory_info().rss - idle["here"])
            for child in server.children():
                with contextlib.suppress(psutil.Error):
                    most["reader"] = max(most["reader"], child.memory_info().rss - idle["reader"])

    watching = threading.Thread(target=watch)
    watching.start()
    longest = 0.0
    taken = 0
    for name, data, _ in HOSTILE.values():
        path = folder / name
        path.write_bytes(data)
        began = time.perf_counter()
        with contextlib.suppress(VolumeRefused, OSError):
            reader.read(path)
            taken += 1
        longest = max(longest, time.perf_counter() - began)
        path.unlink()
    over.set()
    watching.join()
    print(
        f"\n{len(HOSTILE)} hostile images: {taken} taken; the longest took {1000 * longest:.0f} ms; most memory above "
        f"idle {most['here'] / 1e6:.0f} MB here, {most['reader'] / 1e6:.0f} MB in the reading process."
    )


def those_with_a_good_header(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Choose the poisoned images that come as far as the limited process."""
    for name, data, _ in HOSTILE.values():
        path = folder / name
        path.write_bytes(data)
        with contextlib.suppress(VolumeRefused, OSError):
            read_header(path, largest_voxel_bytes=1024**3)
            yield name, data
        path.unlink()


def main() -> None:
    """Measure all three."""
    reader = VolumeReader(largest_voxel_bytes=1024**3)
    try:
        with tempfile.TemporaryDirectory(prefix="tomaat-reader-") as name:
            measure_cost(reader, Path(name))
            look_for_the_victim(reader, Path(name))
            measure_hostile(reader, Path(name))
    finally:
        reader.close()


if __name__ == "__main__":
    main()
