"""A tube, and which share of each voxel tubes fill: exact geometry on any grid, with its partial volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tomaat.volumes import Volume

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
FINEST_MM = 0.35  #: a voxel is divided until its parts are no longer than this; their mean is its partial volume
REACH_MM = 0.4  #: beyond a tube's wall, where distances are still measured: more than half a part's width


@dataclass(frozen=True, kw_only=True)
class Tube:
    """What is within ``radii_mm`` of the points of a line."""

    points_mm: Array  #: shape (n, 3)
    radii_mm: Array  #: shape (n,)


def shares(tubes: Sequence[Tube], grid: Volume, pose: Array, grown_mm: Sequence[float] = (0.0,)) -> list[Array]:
    """Tell which share of each voxel of ``grid`` lies in the tubes, 0 to 1; for each of ``grown_mm``, in wider ones.

    ``pose`` (4, 4) brings the tubes' positions to the patient's (LPS, mm).
    """
    spacing, shape = np.asarray(grid.spacing_mm), np.asarray(grid.array.shape)
    parts = np.ceil(spacing / FINEST_MM - 1e-6).astype(int)
    step = spacing / parts
    points = np.concatenate([tube.points_mm for tube in tubes]) @ pose[:3, :3].T + pose[:3, 3]
    places = (points - grid.origin_mm) @ np.asarray(grid.direction) + spacing / 2  # from the first voxel's corner
    radii = np.concatenate([tube.radii_mm for tube in tubes])
    reach = (radii + max(grown_mm) + REACH_MM)[:, None]
    low = np.clip(np.floor((places - reach).min(axis=0) / spacing), 0, shape).astype(int)
    high = np.clip(np.ceil((places + reach).max(axis=0) / spacing), 0, shape).astype(int)
    filled = [np.zeros(grid.array.shape, np.float32) for _ in grown_mm]
    if (high <= low).any():
        return filled
    distance = distances(places - low * spacing, radii, reach, step, (high - low) * parts)
    width = np.float32(step.mean())
    box = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    for share, more in zip(filled, grown_mm, strict=True):
        inside = np.clip((np.float32(more) - distance) / width + np.float32(0.5), 0, 1)
        for axis, count in enumerate(parts):
            whole = (slice(None),) * axis
            cuts = [(*whole, slice(part, None, count)) for part in range(count)]
            inside = np.asarray(sum(inside[cut] for cut in cuts)) / np.float32(count)
        share[box] = inside
    return filled


def distances(places: Array, radii: Array, reach: Array, step: Array, counts: Array) -> Array:
    """Measure how far each part is outside of the balls at ``places`` (inside: negative), as far as they reach (mm).

    Parts are ``step`` apart, the first one's middle half a step from zero.
    """
    distance = np.full(tuple(counts), np.inf, np.float32)
    middles = [((np.arange(count) + 0.5) * size).astype(np.float32) for count, size in zip(counts, step, strict=True)]
    first = np.clip(np.ceil((places - reach) / step - 0.5), 0, counts).astype(int).tolist()
    last = np.clip(np.floor((places + reach) / step - 0.5) + 1, 0, counts).astype(int).tolist()
    for place, radius, low, high in zip(places.astype(np.float32), radii.astype(np.float32), first, last, strict=True):
        x, y, z = (np.square(middles[n][low[n] : high[n]] - place[n]) for n in range(3))
        window = distance[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        np.minimum(window, np.sqrt(x[:, None, None] + y[:, None] + z) - radius, out=window)
    return distance
