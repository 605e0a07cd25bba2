"""Connected parts and holes of a mask: arrays of bool, shape (i, j, k)."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk

Mask = np.ndarray[Any, np.dtype[np.bool_]]


def largest_part(mask: Mask) -> Mask:
    """Keep the largest of the parts that do not touch, not even at an edge or a corner; of equal ones, one.

    Connected component labelling with 26 neighbours: ITK's ``ConnectedComponentImageFilter``, fully connected.
    """
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    largest: Mask = sitk.GetArrayFromImage(parts) == 1
    return largest


def without_holes(mask: Mask) -> Mask:
    """Fill the holes: voxels from which no way over faces leads to the volume's border, outside of the mask.

    ITK's ``BinaryFillholeImageFilter``, not fully connected.
    """
    filled: Mask = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))) == 1
    return filled
