"""Bring what a network gave back to the grid of the volume that was sent."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomaat.refusals import WrongValue
from tomaat.volumes import Volume
from tomaat.volumes.labels import LARGEST_LABEL, same_grid

WHOLE_WITHIN = 1e-3  #: of a label: how far from it a network's float may lie


def labels_on(grid: Volume, seen: Volume, found: Any, kind: str, cut: float) -> Volume:
    """Give the labels of a network's output on ``grid``.

    ``found`` is a tensor (classes, i, j, k) on the grid of ``seen``. Where that is the given grid, turned, no value is
    sampled. Else probabilities are, linearly, one class after another, before the largest is chosen (``softmax``) or
    they are cut (``sigmoid``, where the last label above the cut counts, as in nnU-Net's regions); labels are not
    blended, the nearest counts. The result is of whole numbers of 8, 16 or 32 bits.
    """
    if kind == "labels":
        return _one_on(grid, seen.like(_whole(found[0])), "nearest")
    turned = seen.reoriented(grid.orientation)
    if same_grid(turned, grid):
        values = found.argmax(0) if kind == "softmax" else _last_above(found, cut)
        return _one_on(grid, seen.like(_smallest(values, len(found))), "nearest")
    best = np.zeros(grid.array.shape, np.uint16)
    highest = np.full(grid.array.shape, -np.inf if kind == "softmax" else cut, np.float32)
    for channel in range(len(found)):
        probable = _one_on(grid, seen.like(found[channel]), "linear").array
        if kind == "softmax":
            better = probable > highest
            best[better] = channel
            np.maximum(highest, probable, out=highest)
        else:
            best[probable > highest] = channel + 1
    return grid.like(best)


def volumes_on(grid: Volume, seen: Volume, found: Any) -> list[Volume]:
    """Give each channel of a network's output (channels, i, j, k) on ``grid``, sampled linearly, float32."""
    return [_one_on(grid, seen.like(channel), "linear") for channel in found]


def _last_above(found: Any, cut: float) -> Any:
    values = found[0].new_zeros(found[0].shape)
    for channel in range(len(found)):
        values[found[channel] > cut] = channel + 1
    return values


def _smallest(values: Any, classes: int) -> np.ndarray[Any, Any]:
    """Give a tensor of labels as an array of small whole numbers, which are made on its device."""
    return np.asarray((values.byte() if classes <= np.iinfo(np.uint8).max else values.int()).cpu().numpy())


def _whole(values: Any) -> np.ndarray[Any, Any]:
    """Demand labels, whole numbers as floats may hold them. Raises ``WrongValue``."""
    given = values.cpu().numpy()
    array = np.rint(given)
    between = np.abs(given - array) > WHOLE_WITHIN
    if between.any():
        raise WrongValue(
            f"the network gave {given[between][0]:g}, which is no label; such values look like probabilities: write "
            "output: {kind: softmax} or {kind: sigmoid} into its card"
        )
    if not (array.min() >= 0 and array.max() <= LARGEST_LABEL):
        raise WrongValue(f"the network gave values that are no labels; by its card they are 0 to {LARGEST_LABEL}")
    return np.asarray(array.astype(np.int32))


def _one_on(grid: Volume, volume: Volume, interpolation: str) -> Volume:
    """Bring one volume onto a grid. Where the two have their voxels in the same places, no value changes."""
    turned = volume.reoriented(grid.orientation)
    if same_grid(turned, grid):
        return grid.like(turned.array)
    return _with_border(volume).onto(grid, interpolation=interpolation)


def _with_border(volume: Volume) -> Volume:
    """Repeat the outermost voxels: a coarse grid may end before the fine one that it stands for."""
    return Volume(
        array=np.pad(volume.array, 1, mode="edge"),
        spacing_mm=volume.spacing_mm,
        origin_mm=volume.to_physical((-1, -1, -1)),
        direction=volume.direction,
    )
