"""Put the images of a stack on an even grid that is not theirs: a tilted gantry, slices unevenly spaced.

The images stay parallel, and keep their pixels' size and direction. Each lies in the grid at a place of its own, which
is told in voxels: ``(i, j, k)`` of its first pixel. Between them the stack runs straight, as the gantry was moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomaat.headers.volume_header import Point

EXACT_WITHIN = 0.01  #: of a voxel: what lies as near to a voxel's place lies there
ROUNDED_MM = 0.07  #: from the nearest even grid: positions are often rounded to 0.1 mm
MOST_ROUNDED = 0.25  #: of a voxel, however thin the slices are
MOST_GROWN = 10  #: times as many voxels as were sent

Array = np.ndarray[Any, Any]


def even_places(offsets: Array, spacing: Sequence[float], within: float) -> tuple[Array, float]:
    """Lay the images of a stack into voxels, ``offsets`` (mm, along i, j, k) from the first one; give the step along k.

    The step is the smallest gap, or a little less, so that the last image lies on the grid. What is even, or straight,
    ``within`` so much of a voxel, is left so, and likewise depths that rounding alone made uneven.
    """
    depths = offsets[:, 2] - offsets[0, 2]
    count = len(depths)
    along = np.arange(count, dtype=np.float64)
    step, begin = np.polyfit(along, depths, 1)
    if np.abs(depths - begin - step * along).max() > max(within * step, rounding(step)):
        step = depths[-1] / np.ceil(depths[-1] / np.diff(depths).min() - within)
        along = depths / step
    places = np.column_stack([_straight(offsets[:, axis] / spacing[axis], depths, within) for axis in (0, 1)] + [along])
    whole = np.round(places)
    return np.where(np.abs(places - whole) <= EXACT_WITHIN, whole, places), float(step)


def rounding(step: float) -> float:
    """Tell how far (mm) rounding may have moved an image along a stack, whose images are ``step`` apart."""
    return min(ROUNDED_MM, MOST_ROUNDED * step)


def _straight(beside: Array, depths: Array, within: float) -> Array:
    """Fit a line to how far, in voxels, each image lies beside the first."""
    if np.abs(beside - beside[0]).max() <= within:
        return np.zeros_like(beside)
    slope, begin = np.polyfit(depths, beside, 1)
    line: Array = begin + slope * depths
    return line


def grid_around(places: Array, columns: int, rows: int) -> tuple[list[int], list[int]]:
    """Give the first voxel of the grid that holds all images, and its dimensions; none where it is far too large."""
    first = np.floor(places.min(axis=0))
    size = np.ceil(places.max(axis=0)) - first + (columns, rows, 1)
    if size.prod() > MOST_GROWN * columns * rows * len(places):
        return [], []
    return first.astype(int).tolist(), size.astype(int).tolist()


def onto_even(images: Array, places: Sequence[Point], dimensions: tuple[int, int, int]) -> Array:
    """Interpolate images (k, j, i) linearly at the voxels of an even grid (k, j, i), one plane after the other.

    ``places`` has the index (i, j, k) in the grid of each image's first pixel.

    A voxel that no pixels of the images lie around has their smallest value, which is air in a CT. The type stays: a
    value between two whole numbers is rounded to the nearer one, and half way to the even one.
    """
    begins = np.asarray(places)
    along = begins[:, 2]
    made: Array = np.full(dimensions[::-1], _smallest(images), images.dtype)
    for k in range(len(made)):
        below = min(max(int(np.searchsorted(along, k, side="right")) - 1, 0), len(along) - 2)
        part = min(max((k - along[below]) / (along[below + 1] - along[below]), 0.0), 1.0)
        plane = _between(images[below], images[below + 1], part)
        begin = [float(np.interp(k, along, begins[:, axis])) for axis in (0, 1)]
        _put(plane, begin[0], begin[1], made[k])
    return made


def _smallest(images: Array) -> Any:
    """Give the smallest value that is a number, plane by plane; 0 where none is."""
    if images.dtype.kind != "f":
        return images.min()
    smallest = np.fmin.reduce([np.fmin.reduce(plane, axis=None) for plane in images])
    return smallest if np.isfinite(smallest) else 0


def _between(one: Array, other: Array, part: float) -> Array:
    """Mix neighbours, ``part`` of the way; of one alone where the way is none, since the other may hold no number."""
    if part == 0:
        return one
    if part == 1:
        return other
    mixed: Array = one * np.float64(1 - part) + other * np.float64(part)
    return mixed


def _put(plane: Array, begin_i: float, begin_j: float, target: Array) -> None:
    """Lay a plane (j, i) into a larger one, its first pixel at a place between voxels."""
    for axis, begin in ((1, begin_i), (0, begin_j)):
        part = 1 - begin % 1 if begin % 1 else 0.0
        before, behind = [slice(None)] * 2, [slice(None)] * 2
        before[axis], behind[axis] = slice(None, -1), slice(1, None)
        if part:
            plane = _between(plane[tuple(before)], plane[tuple(behind)], part)
    i, j = int(np.ceil(begin_i)), int(np.ceil(begin_j))
    rows, columns = plane.shape
    target[j : j + rows, i : i + columns] = plane if target.dtype.kind == "f" else np.rint(plane)
