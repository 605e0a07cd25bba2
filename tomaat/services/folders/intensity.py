"""Scale a volume's values as a card says."""

from __future__ import annotations

from typing import Any

import numpy as np

from tomaat.services.folders.card_intensity import INSIDE, AsItIs, Percentiles, Scaling, WindowScaling, ZScore
from tomaat.services.task_refused import TaskRefused

LEAST_STD = 1e-8  #: by which is divided where all voxels are alike, as nnU-Net has it

Array = np.ndarray[Any, np.dtype[np.float32]]
Counted = np.ndarray[Any, np.dtype[np.bool_]]  #: which voxels count; of no axes where all do


def scaled(voxels: Array, how: Scaling, id: str, inside: Counted | None = None) -> Array:
    """Scale voxels, float32 of any shape, of the input ``id``; the same memory may come back, changed.

    ``inside`` is the outline, of the voxels' shape, where a card asks for it. Raises ``TaskRefused`` for percentiles
    that are equal. Sources: the window and the percentiles as MONAI's ``ScaleIntensityRange`` and
    ``ScaleIntensityRangePercentiles``, the z-score as nnU-Net's ``ZScoreNormalization``, and with ``clip``, ``mean``
    and ``std`` its ``CTNormalization``.
    """
    if isinstance(how, AsItIs):
        return voxels
    if isinstance(how, WindowScaling):
        low, high = how.to
        np.clip(voxels, how.low, how.high, out=voxels)
        return _moved(voxels, how.low, (how.high - how.low) / (high - low), low)
    counted = voxels != 0 if how.voxels == "nonzero" else np.ones((), bool)
    if how.voxels == INSIDE and inside is not None:
        counted = inside
    if isinstance(how, ZScore):
        return _z_scored(voxels, how, counted)
    return _between_percentiles(voxels, how, counted, id)


def _moved(voxels: Array, zero: float, unit: float, then: float = 0.0) -> Array:
    voxels -= np.float32(zero)
    voxels /= np.float32(unit)
    voxels += np.float32(then)
    return voxels


def _z_scored(voxels: Array, how: ZScore, counted: Counted) -> Array:
    if how.clip is not None:
        _clip(voxels, how.clip, counted)
    mean, std = how.mean, how.std
    if mean is None or std is None:
        those = voxels[counted] if counted.ndim else voxels
        mean, std = (float(those.mean(dtype=np.float64)), float(those.std(dtype=np.float64))) if those.size else (0, 1)
    return _where(counted, voxels, mean, max(std, LEAST_STD))


def _between_percentiles(voxels: Array, how: Percentiles, counted: Counted, id: str) -> Array:
    those = voxels[counted] if counted.ndim else voxels
    low, high = np.percentile(those, [how.low, how.high]) if those.size else (0.0, 0.0)
    if not high > low:
        raise TaskRefused(
            f"{id}: the percentiles {how.low:g} and {how.high:g} of its voxels are both {low:g}; there is nothing to "
            "be seen.",
            code="nothing-to-see",
        )
    voxels = _where(counted, voxels, float(low), float(high - low))
    if how.clip is not None:
        _clip(voxels, how.clip, counted)
    return voxels


def _clip(voxels: Array, ends: list[float], counted: Counted) -> None:
    np.maximum(voxels, np.float32(ends[0]), out=voxels, where=counted)
    np.minimum(voxels, np.float32(ends[1]), out=voxels, where=counted)


def _where(counted: Counted, voxels: Array, zero: float, unit: float) -> Array:
    """Move and scale the voxels that count."""
    np.subtract(voxels, np.float32(zero), out=voxels, where=counted)
    np.divide(voxels, np.float32(unit), out=voxels, where=counted)
    return voxels
