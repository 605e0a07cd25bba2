"""An image with its geometry, as a task sees it and as it is written.

Classes that need numpy are imported when they are asked for. So the web process, which only checks headers, stays
small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tomaat.volumes.codes import Code
    from tomaat.volumes.labels import Labels
    from tomaat.volumes.preview import draw_preview
    from tomaat.volumes.volume import Volume
    from tomaat.volumes.write import slicer_fields, write_volume

__all__ = [
    "Code",
    "Labels",
    "Volume",
    "draw_preview",
    "slicer_fields",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name not in set(__all__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tomaat.volumes.codes import Code  # noqa: PLC0415 (beside the others)
    from tomaat.volumes.labels import Labels  # noqa: PLC0415 (numpy)
    from tomaat.volumes.preview import draw_preview  # noqa: PLC0415 (Pillow)
    from tomaat.volumes.volume import Volume  # noqa: PLC0415 (numpy)
    from tomaat.volumes.write import slicer_fields, write_volume  # noqa: PLC0415 (SimpleITK)

    # Python has bound the names of the classes to their modules by now.
    globals().update(
        Code=Code,
        Labels=Labels,
        Volume=Volume,
        draw_preview=draw_preview,
        slicer_fields=slicer_fields,
        write_volume=write_volume,
    )
    return globals()[name]
