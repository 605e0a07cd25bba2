"""What a reader tells about a volume that it took. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass

MADE_SQUARE = "made-square"  #: the axes are not exactly those in the file
RESAMPLED = "resampled"  #: the voxels are not those in the file, but between them
NO_PLACE = "no-place"  #: the header does not say where the volume lies


@dataclass(frozen=True)
class Remark:
    """How a volume was read where that is not plain, for whoever sent it.

    It stands in ``result.json``, on the page and in the client's output, and in no log.
    """

    code: str  #: a short word for programs, such as ``no-place``
    detail: str  #: a sentence for people, or two; it names the thing, what was done and the number


def no_place(fields: str) -> Remark:
    """Remark that a header does not say how its volume lies; ``fields`` are those that would."""
    return Remark(
        NO_PLACE,
        f"{fields}: the header does not say where the volume lies. It was taken as LPS, as SimpleITK does (i to the "
        "patient's left, j to posterior, k to superior). Other readers, such as nibabel, may turn and move it.",
    )


def bytes_behind(count: int, slice_bytes: int) -> Remark:
    """Remark that a file goes on behind its voxels, of which a slice has so many bytes."""
    slices, rest = divmod(count, slice_bytes)
    many = f" They are as many as those of {slices} slices: a dimension in the header may be too small."
    passed = f"{count} bytes behind the voxels were passed over; the header does not claim them."
    return Remark("bytes-behind", f"{passed}{'' if rest else many}")
