"""What a DICOM series says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DicomSource:
    """What the images of a series say of themselves, so that a result can refer to them."""

    headers: tuple[dict[str, Any], ...]  #: DICOM JSON Model, one per slice k, attributes needed to refer to it
