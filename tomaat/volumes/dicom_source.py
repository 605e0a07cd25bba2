"""The headers of a DICOM series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FRAME_NUMBER = "00081160"  #: ReferencedFrameNumber, in the header of a frame of an enhanced image


@dataclass(frozen=True, kw_only=True)
class OwnImages:
    """The images of a series, in the even grid of the volume that was resampled from them."""

    columns: int  #: of each image
    rows: int
    places: tuple[tuple[float, float, float], ...]  #: the index (i, j, k) of each one's first pixel, between voxels


@dataclass(frozen=True, kw_only=True)
class DicomSource:
    """The headers of a series' images, so that a result can refer to them."""

    headers: tuple[dict[str, Any], ...]  #: DICOM JSON Model, one per image, attributes needed to refer to it
    own: OwnImages | None = None  #: where the volume was resampled; else image k is slice k
