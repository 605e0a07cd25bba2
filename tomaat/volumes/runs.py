"""Look at labels run by run: equal voxels that lie side by side in memory are looked at as one.

A pass compares each voxel with its neighbour, in large slabs: numpy does that without the interpreter, which a task may
need meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SLAB_VOXELS = 8 * 1024**2  #: looked at together: large, since each step waits for the interpreter


def count_values(array: Array) -> dict[int, int]:
    """Count the voxels of each value of an array of shape (i, j, k): bool, or whole numbers from 0 to 65,535."""
    counts: Counter[int] = Counter()
    for _, values, lengths, _ in _runs(_as_it_lies(array)[0]):
        found = np.bincount(values.astype(np.int64), lengths)
        counts.update({int(value): int(found[value]) for value in np.flatnonzero(found)})
    return counts


def count_in_planes(array: Array, value: int) -> list[Array]:
    """Count the voxels of one value in each plane of an array of shape (i, j, k): across i, across j, across k."""
    lying, order = _as_it_lies(array)
    rows, columns = lying.shape[1:]
    planes, lines = np.zeros(lying.shape[0]), np.zeros(rows)
    begun = np.zeros(columns + 1)  # runs that begin at a column, less those that ended before it
    for first, values, lengths, lasts in _runs(lying):
        chosen = values == value
        line, column = np.divmod(lasts[chosen], columns)
        planes += np.bincount(first + line // rows, lengths[chosen], len(planes))
        lines += np.bincount(line % rows, lengths[chosen], rows)
        begun += np.bincount(column - lengths[chosen] + 1, minlength=columns + 1)
        begun -= np.bincount(column + 1, minlength=columns + 1)
    counts = (planes, lines, begun.cumsum()[:-1])
    return [counts[order.index(axis)].astype(np.int64) for axis in range(3)]


def _as_it_lies(array: Array) -> tuple[Array, list[int]]:
    """Turn the axes so that the last one is that of neighbours in memory; tell which of i, j, k each is."""
    order = sorted(range(3), key=lambda axis: (array.shape[axis] > 1, -abs(array.strides[axis])))
    return array.transpose(order), order


def _runs(lying: Array) -> Iterator[tuple[int, Array, Array, Array]]:
    """Give slab after slab: its first plane, and of each run the value, the length, and the place of its last voxel.

    A run ends with its row, along the last axis.
    """
    if not lying.size:
        return
    columns = lying.shape[2]
    step = max(1, SLAB_VOXELS // lying[0].size)
    for first in range(0, len(lying), step):
        voxels = lying[first : first + step].reshape(-1)
        ends = np.empty(len(voxels), bool)
        np.not_equal(voxels[1:], voxels[:-1], out=ends[:-1])
        ends[columns - 1 :: columns] = True
        lasts = np.flatnonzero(ends)
        yield first, voxels[lasts], np.diff(lasts, prepend=-1), lasts
