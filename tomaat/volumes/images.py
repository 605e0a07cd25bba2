"""A volume as SimpleITK's image, and back; and sampled anew on another grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from tomaat.refusals import WrongType, WrongValue

if TYPE_CHECKING:
    from tomaat.volumes.volume import Volume  # which imports this file to sample itself

NEXT_TO_NOTHING = 1e-12
INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor, "cubic": sitk.sitkBSpline}


def as_image(volume: Volume) -> sitk.Image:
    """Make SimpleITK's image of a volume; bool becomes uint8, float16 becomes float32.

    Raises ``WrongType`` for voxels that are no numbers.
    """
    array = volume.array
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    elif array.dtype == np.float16:
        array = array.astype(np.float32)
    elif array.dtype.kind not in "iuf":
        raise WrongType(f"voxels of type {array.dtype} cannot be written; use integers or floats")
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing([float(size) for size in volume.spacing_mm])
    image.SetOrigin([float(coordinate) for coordinate in volume.origin_mm])
    image.SetDirection(_cosines(volume))
    return image


def sampled(volume: Volume, grid: Volume, interpolation: str, outside: float) -> Volume:
    """Sample a volume at the voxel centres of ``grid``, whose own voxels do not matter.

    Raises ``WrongValue`` for an interpolation that there is not.
    """
    if interpolation not in INTERPOLATORS:
        raise WrongValue(f"interpolation: {{!r}} is none of {', '.join(INTERPOLATORS)}.", interpolation)
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize([int(count) for count in grid.array.shape])
    filter_.SetOutputSpacing([float(size) for size in grid.spacing_mm])
    filter_.SetOutputOrigin([float(coordinate) for coordinate in grid.origin_mm])
    filter_.SetOutputDirection(_cosines(grid))
    filter_.SetInterpolator(INTERPOLATORS[interpolation])
    filter_.SetDefaultPixelValue(outside)
    voxels = sitk.GetArrayFromImage(filter_.Execute(as_image(volume)))
    if volume.array.dtype == np.bool_:
        voxels = voxels.astype(np.bool_)
    return grid.like(voxels.transpose(2, 1, 0))


def _cosines(volume: Volume) -> list[float]:
    """Give the axes as ITK has them, with 0 for a number next to 0: its inverse would be no number in ITK."""
    return [float(number) if abs(number) > NEXT_TO_NOTHING else 0.0 for row in volume.direction for number in row]
