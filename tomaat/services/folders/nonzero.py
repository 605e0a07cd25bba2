"""The part of volumes that is not 0: its box, and its outline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Volume
from tomaat.volumes.parts import without_holes

Box = tuple[slice, slice, slice]
Outline = np.ndarray[Any, np.dtype[np.bool_]]


def box_of(volumes: Mapping[str, Volume]) -> Box:
    """Tell where volumes on one grid, by their inputs' ids, are not all 0. Raises ``TaskRefused`` where they are."""
    there = _nonzero(volumes)
    ends = []
    for axis in range(3):
        planes = np.flatnonzero(there.any(axis=tuple(other for other in range(3) if other != axis)))
        if not planes.size:
            raise TaskRefused(
                f"{', '.join(volumes)}: all voxels are 0; there is nothing to see.", code="nothing-to-see"
            )
        ends.append(slice(int(planes[0]), int(planes[-1]) + 1))
    return ends[0], ends[1], ends[2]


def within(volume: Volume, box: Box) -> Volume:
    """Cut out a box of voxels."""
    return Volume(
        array=volume.array[box],
        spacing_mm=volume.spacing_mm,
        origin_mm=volume.to_physical([each.start for each in box]),
        direction=volume.direction,
    )


def outline_of(volumes: Mapping[str, Volume]) -> Outline:
    """Mark what is not 0 in any of the volumes, and its holes: nnU-Net's ``create_nonzero_mask``."""
    return without_holes(_nonzero(volumes))


def _nonzero(volumes: Mapping[str, Volume]) -> Outline:
    first, *others = volumes.values()
    there = first.array != 0
    for volume in others:
        there |= volume.array != 0
    return np.asarray(there)
