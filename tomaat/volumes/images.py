"""A volume as SimpleITK's image, and back; and sampled anew on another grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from tomaat.refusals import WrongType
from tomaat.volumes.sampling import INTERPOLATIONS, bounds

if TYPE_CHECKING:
    from tomaat.volumes.volume import Volume  # which imports this file to sample itself

LARGEST_VALUE_BYTES = 8  #: of a number that ITK takes
NEXT_TO_NOTHING = 1e-12
UNSAFE_COUNT = 2  #: of voxels along an axis: of these ITK's splines read one that is not there
INTERPOLATORS = dict(zip(INTERPOLATIONS, (sitk.sitkLinear, sitk.sitkNearestNeighbor, sitk.sitkBSpline), strict=True))


def as_voxels(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give an array's numbers in a type that ITK has: bool becomes uint8, float16 float32; this machine's byte order.

    What is of such a type already is not copied. Raises ``WrongType`` for what is no number.
    """
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > LARGEST_VALUE_BYTES:
        raise WrongType(f"voxels of type {array.dtype} cannot be written; use integers or floats of at most 64 bits")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def as_image(volume: Volume) -> sitk.Image:
    """Make SimpleITK's image of a volume, of the numbers that ``as_voxels`` gives, and with its errors."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(as_voxels(volume.array).transpose(2, 1, 0)))
    image.SetSpacing([float(size) for size in volume.spacing_mm])
    image.SetOrigin([float(coordinate) for coordinate in volume.origin_mm])
    image.SetDirection(_cosines(volume))
    return image


def sampled(volume: Volume, grid: Volume, interpolation: str, outside: float) -> Volume:
    """Sample a volume at the voxel centres of ``grid``, whose own voxels do not matter.

    The voxels' type stays. Whole numbers and bool are sampled as floats and then rounded, since ITK cuts off, which
    would darken a CT by half a unit; ``nearest`` takes them as they are. ``cubic`` is linear where an axis has two
    voxels, of which ITK's splines read beyond the image.
    """
    if interpolation == "cubic" and UNSAFE_COUNT in volume.array.shape:
        interpolation = "linear"
    dtype = volume.array.dtype
    rounds = dtype.kind in "bui" and interpolation != "nearest"
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize([int(count) for count in grid.array.shape])
    filter_.SetOutputSpacing([float(size) for size in grid.spacing_mm])
    filter_.SetOutputOrigin([float(coordinate) for coordinate in grid.origin_mm])
    filter_.SetOutputDirection(_cosines(grid))
    filter_.SetInterpolator(INTERPOLATORS[interpolation])
    filter_.SetDefaultPixelValue(float(outside))
    if rounds:
        exact = np.result_type(dtype, np.float32)  # float32 for at most 16 bits, else float64
        filter_.SetOutputPixelType(sitk.sitkFloat32 if exact == np.float32 else sitk.sitkFloat64)
    voxels = sitk.GetArrayFromImage(filter_.Execute(as_image(volume)))
    if rounds:
        _round(voxels, dtype)
    return grid.like(voxels.astype(dtype, copy=False).transpose(2, 1, 0))


def _round(floats: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> None:
    """Round floats, in place, to the nearest values of a type of whole numbers, or of bool; half way to the even."""
    low, high = bounds(dtype)
    highest = floats.dtype.type(high)
    if int(highest) > high:  # 2 ** 63 - 1 is no double, and the double above it would wrap
        highest = np.nextafter(highest, floats.dtype.type(0))
    np.rint(floats, out=floats)
    np.clip(floats, low, highest, out=floats)


def _cosines(volume: Volume) -> list[float]:
    """Give the axes as ITK has them, with 0 for a number next to 0: its inverse would be no number in ITK."""
    return [float(number) if abs(number) > NEXT_TO_NOTHING else 0.0 for row in volume.direction for number in row]
