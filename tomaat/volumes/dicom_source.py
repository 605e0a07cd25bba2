"""The headers of a DICOM series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FRAME_NUMBER = "00081160"  #: ReferencedFrameNumber, in the header of a frame of an enhanced image


@dataclass(frozen=True, kw_only=True)
class DicomSource:
    """The headers of a series' images, so that a result can refer to them."""

    headers: tuple[dict[str, Any], ...]  #: DICOM JSON Model, one per slice k, attributes needed to refer to it
