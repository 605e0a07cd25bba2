"""The one rule on axes that are not quite at right angles. Standard library only.

Rounding turns axes: an affine of three decimals, or of half precision. Nothing that works on a volume takes
such axes, so they are made square, about the volume's middle, and a remark tells how far that moves voxels.
"""

from __future__ import annotations

from collections.abc import Sequence

from tomaat.headers.checks import farthest_apart_mm, three
from tomaat.headers.remark import MADE_SQUARE, Remark
from tomaat.headers.volume_header import Point
from tomaat.headers.volume_refused import VolumeRefused

EXACT_WITHIN = 1e-5  #: of the product of two axes: single precision leaves less, and ITK takes ten times as much
ROUNDED_WITHIN = 5e-3  #: likewise: rounding leaves less; axes that are farther off were sheared on purpose
MOVED_WITHIN = 0.1  #: of the smallest spacing: how far a voxel's centre may move
STEPS = 8  #: of a method that doubles the right digits with each
REMEDY = "resample the volume to a regular grid, a NIfTI by nibabel.processing.resample_to_output(image)"

Axes = tuple[Point, Point, Point]


def made_square(
    field: str, origin: Point, axes: Sequence[Point], spacing: Point, dimensions: Sequence[int]
) -> tuple[Point, Axes, tuple[Remark, ...]]:
    """Give origin (mm), the axes i, j, k as the columns of a matrix, by its rows, and what there is to tell.

    Raises ``VolumeRefused`` with the number and the limit for axes that are farther off square than rounding leaves.
    """
    off = max(
        abs(sum(a * b for a, b in zip(one, other, strict=True)) - (first == second))
        for first, one in enumerate(axes)
        for second, other in enumerate(axes)
    )
    if off <= EXACT_WITHIN:
        return origin, _by_rows(axes), ()
    if off > ROUNDED_WITHIN:
        rule = f"{field}: the axes are not at right angles and of length 1: they are {off:.2g} off, at most"
        raise VolumeRefused("direction", f"{rule} {ROUNDED_WITHIN:g} is taken; {REMEDY}.")
    square = _nearest_square(axes)
    middle = [mm * (count - 1) / 2 for mm, count in zip(spacing, dimensions, strict=True)]
    first = three(
        [origin[x] + sum((axes[n][x] - square[n][x]) * middle[n] for n in range(3)) for x in range(3)]
    )  # the middle stays
    moved_mm = farthest_apart_mm((origin, _steps(axes, spacing)), (first, _steps(square, spacing)), dimensions)
    moved = moved_mm / min(spacing)
    if moved > MOVED_WITHIN:
        rule = f"{field}: the axes are not at right angles; making them square would move voxels by {moved_mm:.2g} mm"
        limit = f"which is {moved:.2g} of a voxel, and at most {MOVED_WITHIN:g} is taken"
        raise VolumeRefused("direction", f"{rule}, {limit}; {REMEDY}.")
    told = f"{field}: the axes were not quite at right angles, and were made square. The voxel that moved most"
    far = f"moved by {moved:.2g} of a voxel ({moved_mm:.2g} mm)."
    return first, _by_rows(square), (Remark(MADE_SQUARE, f"{told} {far}"),)


def _nearest_square(axes: Sequence[Point]) -> list[Point]:
    """Find the nearest axes at right angles. Source: N. Higham, "Computing the polar decomposition", 1986 (Newton)."""
    now = list(axes)
    for _ in range(STEPS):
        crossed = [_cross(now[n - 2], now[n - 1]) for n in range(3)]
        volume = sum(a * b for a, b in zip(now[0], crossed[0], strict=True))
        now = [three([(now[n][x] + crossed[n][x] / volume) / 2 for x in range(3)]) for n in range(3)]
    return now


def _cross(one: Point, other: Point) -> Point:
    (a, b, c), (d, e, f) = one, other
    return b * f - c * e, c * d - a * f, a * e - b * d


def _steps(axes: Sequence[Point], spacing: Point) -> list[list[float]]:
    return [[x * mm for x in axis] for axis, mm in zip(axes, spacing, strict=True)]


def _by_rows(axes: Sequence[Point]) -> Axes:
    (a, b, c), (d, e, f), (g, h, i) = axes
    return (a, d, g), (b, e, h), (c, f, i)
