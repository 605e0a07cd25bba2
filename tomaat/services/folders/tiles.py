"""Run a network on overlapping tiles of a volume, and blend what it gives, or on the whole volume at once.

Channels are tensors of shape (c, i, j, k).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tomaat.refusals import WrongValue

SIGMA = 1 / 8  #: of a patch: that of the Gaussian, as nnU-Net and MONAI have it
LEAST_WEIGHT = 1e-3  #: of a voxel, likewise

Place = tuple[slice, slice, slice]
Network = Callable[[Any], Any]  #: (1, c, i, j, k) to (1, classes, i, j, k)


def starts_along(count: int, patch: int, overlap: float) -> list[int]:
    """Tell where the patches begin along an axis of ``count`` voxels, as evenly as whole voxels allow.

    The formula is that of nnU-Net (``compute_steps_for_sliding_window``), whose tile step is ``1 - overlap``.

    >>> starts_along(10, 4, 0.5)
    [0, 2, 4, 6]
    >>> starts_along(4, 4, 0.5)
    [0]
    """
    last = count - patch
    steps = math.ceil(last / (patch * (1 - overlap))) if last > 0 else 0
    return [round(last / steps * step) for step in range(steps + 1)] if steps else [0]


def tiles(shape: Sequence[int], patch: Sequence[int], overlap: float) -> list[Place]:
    """Cover a volume of ``shape`` = (i, j, k), no smaller than the patch, with tiles of the patch's size."""
    starts = [starts_along(count, size, overlap) for count, size in zip(shape, patch, strict=True)]
    return [
        (slice(i, i + patch[0]), slice(j, j + patch[1]), slice(k, k + patch[2]))
        for i, j, k in itertools.product(*starts)
    ]


def gaussian(patch: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Give each voxel of a patch (i, j, k) its weight, falling from the middle; MONAI's ``compute_importance_map``."""
    weights = np.ones((1, 1, 1))
    for axis, size in enumerate(patch):
        along = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / (size * SIGMA)) ** 2)
        weights = weights * along.reshape([-1 if n == axis else 1 for n in range(3)])
    return np.asarray(np.maximum(weights, LEAST_WEIGHT), np.float32)


def filled_up(channels: Any, shape: Sequence[int], outside: float) -> tuple[Any, Place]:
    """Fill channels up to a larger ``shape`` (i, j, k) on both sides alike; tell where they lie in the result."""
    own = channels.shape[1:]
    first = [(new - old) // 2 for new, old in zip(shape, own, strict=True)]
    i, j, k = (slice(start, start + count) for start, count in zip(first, own, strict=True))
    if tuple(own) == tuple(shape):
        return channels, (i, j, k)
    filled = channels.new_full((channels.shape[0], *shape), outside)
    filled[:, i, j, k] = channels
    return filled, (i, j, k)


def run_whole(
    network: Network, channels: Any, multiple_of: Sequence[int], *, outside: float, mirrored: Sequence[int] = ()
) -> Any:
    """Run the network on the whole volume, filled up to a multiple; its output has the volume's shape."""
    shape = [-(-count // factor) * factor for count, factor in zip(channels.shape[1:], multiple_of, strict=True)]
    filled, (i, j, k) = filled_up(channels, shape, outside)
    return asked(network, filled, mirrored)[:, i, j, k]


def run_tiled(
    network: Network,
    channels: Any,
    patch: Sequence[int],
    overlap: float,
    *,
    outside: float,
    progress: Callable[[int, int], None],
    mirrored: Sequence[int] = (),
) -> Any:
    """Run the network on each tile, and blend its outputs by a Gaussian; the result has the volume's shape.

    A volume smaller than the patch is filled up first. ``progress`` hears before each tile how many are done, and of
    how many; it may raise. Needs the memory of the result's channels, and of one more. After nnU-Net's
    ``predict_sliding_window_return_logits`` and MONAI's ``sliding_window_inference``.
    """
    shape = [max(count, size) for count, size in zip(channels.shape[1:], patch, strict=True)]
    filled, (i, j, k) = filled_up(channels, shape, outside)
    places = tiles(shape, patch, overlap)
    weights = channels.new_tensor(gaussian(patch))
    total = channels.new_zeros(shape)
    found: Any = None
    for number, (a, b, c) in enumerate(places):
        progress(number, len(places))
        given = asked(network, filled[:, a, b, c], mirrored)
        if found is None:
            found = channels.new_zeros((given.shape[0], *shape))
        found[:, a, b, c].addcmul_(given, weights)
        total[a, b, c] += weights
    found /= total
    return found[:, i, j, k]


def asked(network: Network, channels: Any, mirrored: Sequence[int]) -> Any:
    """Ask the network about channels as they are, and mirrored along each choice of some axes (0 to 2); give the mean.

    What it gives of mirrored ones is mirrored back. After nnU-Net's ``_internal_maybe_mirror_and_predict``.
    """
    shape = channels.shape[1:]
    ways = [way for count in range(len(mirrored) + 1) for way in itertools.combinations(mirrored, count)]
    total: Any = None
    for way in ways:
        turned = channels.flip([axis + 1 for axis in way]) if way else channels
        given = _checked(network(turned[None]), shape)
        if len(ways) == 1:
            return given
        if total is None:
            total = given.clone()  # a network may give back what it got
        else:
            total += given.flip([axis + 1 for axis in way])
    total /= len(ways)
    return total


def _checked(given: Any, shape: Sequence[int]) -> Any:
    """Demand one output of the size of the input; give its channels."""
    if given.ndim != 5 or given.shape[0] != 1 or tuple(given.shape[2:]) != tuple(shape):  # noqa: PLR2004 (n, c, i, j, k)
        raise WrongValue(
            f"the network gave the shape {tuple(given.shape)}; its first output must be (1, channels, "
            f"{', '.join(map(str, shape))}), as large as its input"
        )
    return given[0]
