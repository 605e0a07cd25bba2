"""An image with its geometry; its header checked with the standard library, its voxels read by a guarded process.

What needs numpy is imported when it is asked for, so that the web process, which only checks headers, stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tomaat.volumes.headers import read_header
from tomaat.volumes.VolumeHeader import VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

if TYPE_CHECKING:
    from tomaat.volumes.Labels import Labels
    from tomaat.volumes.preview import draw_preview
    from tomaat.volumes.Volume import Volume
    from tomaat.volumes.VolumeReader import VolumeReader
    from tomaat.volumes.write import slicer_fields, write_volume

__all__ = [
    "Labels",
    "Volume",
    "VolumeHeader",
    "VolumeReader",
    "VolumeRefused",
    "draw_preview",
    "read_header",
    "slicer_fields",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name not in set(__all__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tomaat.volumes.Labels import Labels  # noqa: PLC0415 (numpy)
    from tomaat.volumes.preview import draw_preview  # noqa: PLC0415 (Pillow)
    from tomaat.volumes.Volume import Volume  # noqa: PLC0415 (numpy)
    from tomaat.volumes.VolumeReader import VolumeReader  # noqa: PLC0415 (numpy)
    from tomaat.volumes.write import slicer_fields, write_volume  # noqa: PLC0415 (SimpleITK)

    # Python has bound the names of the classes to their modules by now.
    globals().update(
        Labels=Labels,
        Volume=Volume,
        VolumeReader=VolumeReader,
        draw_preview=draw_preview,
        slicer_fields=slicer_fields,
        write_volume=write_volume,
    )
    return globals()[name]
