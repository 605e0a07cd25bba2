"""Rules of sampling a volume: the interpolations that there are, and the values that a type of voxels has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tomaat.refusals import WrongValue

INTERPOLATIONS = ("linear", "nearest", "cubic")


def check_sampling(dtype: np.dtype[Any], interpolation: str, outside: float) -> None:
    """Demand an interpolation that there is, and a value outside that the voxels' type has: numpy would wrap it.

    Raises ``WrongValue``.
    """
    if interpolation not in INTERPOLATIONS:
        raise WrongValue(f"interpolation: {{!r}} is none of {', '.join(INTERPOLATIONS)}.", interpolation)
    if dtype.kind in "bui":
        low, high = bounds(dtype)
        fits = low <= outside <= high and outside == int(outside)
    else:
        fits = dtype.kind != "f" or not math.isfinite(outside) or abs(outside) <= float(np.finfo(dtype).max)
    if not fits:
        raise WrongValue(f"outside: {outside} is no value of {dtype}, the type of the voxels.")


def bounds(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Give the smallest and the largest value of a type of whole numbers, or of bool."""
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)
