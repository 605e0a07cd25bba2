"""An image with its geometry; its header checked with the standard library, its voxels read by a guarded process.

What needs numpy is imported when it is asked for, so that the web process, which only checks headers, stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tomaat.volumes.headers import read_header
from tomaat.volumes.VolumeHeader import VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

if TYPE_CHECKING:
    from tomaat.volumes.Volume import Volume
    from tomaat.volumes.VolumeReader import VolumeReader
    from tomaat.volumes.write import write_volume

__all__ = ["Volume", "VolumeHeader", "VolumeReader", "VolumeRefused", "read_header", "write_volume"]


def __getattr__(name: str) -> Any:
    if name not in {"Volume", "VolumeReader", "write_volume"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tomaat.volumes.Volume import Volume  # noqa: PLC0415 (numpy)
    from tomaat.volumes.VolumeReader import VolumeReader  # noqa: PLC0415 (numpy)
    from tomaat.volumes.write import write_volume  # noqa: PLC0415 (SimpleITK)

    # Python has bound the first two names to the modules of these classes by now.
    globals().update(Volume=Volume, VolumeReader=VolumeReader, write_volume=write_volume)
    return globals()[name]
