"""Find the grid on which the images of one volume lie, or say with numbers why there is none.

A grid is taken where no voxel's centre lies farther than a tenth of a voxel from where its own image has it, or along
the stack no farther than rounding to a tenth of a millimetre moves it. A stack that is tilted or unevenly spaced gets
an even grid beside it, onto which its images are to be resampled (``even``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomaat.headers.checks import SMALLEST_SPACING_MM, check_origin, check_spacing
from tomaat.headers.remark import MADE_SQUARE, RESAMPLED, Remark
from tomaat.headers.volume_header import Point
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.even import EXACT_WITHIN, even_places, grid_around, rounding
from tomaat.reader.holes import holes_in
from tomaat.reader.slice import Slice

MOST_NAMED = 4  #: slices that a refusal lists
MOVED_WITHIN = 0.1  #: of a voxel: how far a voxel's centre may lie from where its image has it
LEAST_MM = 0.01  #: positions are often written with two or three decimals
AXES_WITHIN = 0.05  #: of the product of two axes: more is no rounding
REMEDY = (
    'In 3D Slicer, set DICOM\'s "Acquisition geometry regularization" to "harden regularization transform", load the '
    "series, and send what it saves as .nii.gz."
)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where a volume's voxels lie; the axes i, j, k run along columns, rows and slices."""

    order: tuple[int, ...]  #: places in the list of the images, k = 0 first
    spacing_mm: Point
    origin_mm: Point
    direction: tuple[Point, Point, Point]  #: rows of a matrix whose columns are the axes i, j, k
    dimensions: tuple[int, int, int]
    places: tuple[Point, ...] = ()  #: in voxels, of each image's first pixel, where they are to be resampled
    remarks: tuple[Remark, ...] = ()


def grid_of(slices: Sequence[Slice], *, resampled: bool = True) -> Grid:
    """Find the grid of one volume's images; an even one beside them only where they may be ``resampled``.

    Raises ``VolumeRefused`` with image, number, limit and remedy.
    """
    first = slices[0]
    for one in slices:
        if one.axes is None or one.spacing_mm is None or one.position_mm is None:
            rule = "it does not say where it lies (position, orientation, pixel spacing)"
            raise VolumeRefused("no-geometry", f"{one.name}: {rule}. Send images that say it, or another format.")
        check_spacing(one.spacing_mm)
        check_origin(one.position_mm)
        if (one.columns, one.rows) != (first.columns, first.rows):
            sizes = f"{one.columns} x {one.rows} pixels, and {first.within} {first.columns} x {first.rows}"
            raise VolumeRefused("different-sizes", f"{one.name}: it has {sizes}; send the images of one size.")
    positions, axes, _ = _arrays(slices)
    _check_axes(slices, axes)
    along = _square(axes[0])
    order = np.argsort(positions @ along[:, 2], kind="stable")
    placed = [slices[place] for place in order]
    positions, axes, spacing = _arrays(placed)
    step = _step(placed, positions @ along[:, 2])
    corners = _corners(positions, axes, spacing, first)
    exact = Grid(
        order=tuple(map(int, order)),
        spacing_mm=check_spacing((*spacing[0].tolist(), step)),
        origin_mm=_point(positions[0]),
        direction=_rows(along),
        dimensions=(first.columns, first.rows, len(placed)),
    )
    if _off(exact, corners, first).max() <= EXACT_WITHIN:
        return exact
    fitted = _fitted(exact, corners, spacing.mean(axis=0), first)
    off = _off(fitted, corners, first)
    if not _lie_within(_away(fitted, corners, first), fitted.spacing_mm[2]):
        even = _even(exact, corners, spacing.mean(axis=0), placed) if resampled else None
        if even is None:
            raise _why_not(placed, off)
        return even
    told = "The images do not lie quite on one even grid, and were put on the nearest one. The voxel that moved most"
    far = f"moved by {off.max():.2g} of a voxel, in {placed[int(off.argmax())].within}."
    return fitted if off.max() <= EXACT_WITHIN else replace(fitted, remarks=(Remark(MADE_SQUARE, f"{told} {far}"),))


def _arrays(slices: Sequence[Slice]) -> tuple[Array, Array, Array]:
    """Give positions, axes and spacings of images, a row for each."""
    columns = ([one.position_mm for one in slices], [one.axes for one in slices], [one.spacing_mm for one in slices])
    positions, axes, spacing = (np.asarray(column, np.float64) for column in columns)
    return positions, axes, spacing


def _check_axes(slices: Sequence[Slice], axes: Array) -> None:
    along_i, along_j = axes[:, :3], axes[:, 3:]
    products = [(along_i * along_i).sum(1) - 1, (along_j * along_j).sum(1) - 1, (along_i * along_j).sum(1)]
    off = np.abs(products).max(axis=0)
    if off.max() > AXES_WITHIN:
        rule = f"rows and columns are not at right angles and of length 1: they are {off.max():.2g} off, at most"
        name = slices[int(off.argmax())].name
        raise VolumeRefused(
            "direction", f"{name}: {rule} {AXES_WITHIN:g} is taken. Export it again, or send it as .nii.gz."
        )


def _square(axes: Array) -> Array:
    """Make one image's axes exact, and add the normal: a matrix whose columns are the axes."""
    along_i = axes[:3] / np.linalg.norm(axes[:3])
    along_k = np.cross(along_i, axes[3:])
    along_k /= np.linalg.norm(along_k)
    return np.column_stack([along_i, np.cross(along_k, along_i), along_k])


def _step(placed: Sequence[Slice], depths: Array) -> float:
    """Tell the mean distance of neighbouring slices; refuse where some are missing."""
    if len(placed) == 1:
        thickness_mm = placed[0].thickness_mm
        if thickness_mm is None or not thickness_mm > 0:
            rule = "it is the only one, and does not say how thick its slice is (SliceThickness)"
            raise VolumeRefused("no-thickness", f"{placed[0].name}: {rule}. Send the whole series.")
        return float(thickness_mm)
    gaps = np.diff(depths)
    if gaps.min() < SMALLEST_SPACING_MM:  # of images that are turned against each other
        pair = [_placed(placed[place], depths[place]) for place in (int(gaps.argmin()), int(gaps.argmin()) + 1)]
        rule = f"Images lie at one depth of the stack: {pair[0]} and {pair[1]}. Send the images of one stack."
        raise VolumeRefused("doubled-slices", rule)
    if holes := holes_in(gaps.tolist()):
        missing = sum(max(round(float(gaps[place]) / usual) - 1, 1) for place, usual in holes)
        where = ", ".join(f"{depths[place] + usual:.2f}" for place, usual in holes[:MOST_NAMED])
        more = ", …" if len(holes) > MOST_NAMED else ""
        first = holes[0][0]
        before, behind = (_placed(placed[place], depths[place]) for place in (first, first + 1))
        between = f"the first between {before} and {behind}"
        rule = f"{missing} slice{' is' if missing == 1 else 's are'} missing, at {where}{more} mm along the stack"
        raise VolumeRefused("missing-slices", f"{rule}, {between}. Export the whole series again.")
    return float((depths[-1] - depths[0]) / (len(depths) - 1))


def _placed(one: Slice, depth: float) -> str:
    return f"{one.within} (at {depth:.2f} mm)"


def _corners(positions: Array, axes: Array, spacing: Array, first: Slice) -> Array:
    """Tell where the four corners of each image lie, by its own header: (images, 4, 3)."""
    i = np.asarray([0, first.columns - 1] * 2)
    j = np.asarray([0, 0, first.rows - 1, first.rows - 1])
    along_i = axes[:, None, :3] * (spacing[:, None, :1] * i[None, :, None])
    along_j = axes[:, None, 3:] * (spacing[:, None, 1:] * j[None, :, None])
    corners: Array = positions[:, None] + along_i + along_j
    return corners


def _on_grid(spacing: Sequence[float], count: int, first: Slice) -> Array:
    """Tell where the same corners lie on a grid, in mm along its axes from its first voxel."""
    i = np.asarray([0, first.columns - 1] * 2) * spacing[0]
    j = np.asarray([0, 0, first.rows - 1, first.rows - 1]) * spacing[1]
    k = np.arange(count) * spacing[2]
    points: Array = np.stack(np.broadcast_arrays(i[None, :], j[None, :], k[:, None]), axis=-1)
    return points


def _away(grid: Grid, corners: Array, first: Slice) -> Array:
    """Tell how far, in voxels along i, j, k, each corner of each image lies from its place on a grid."""
    along = (corners - grid.origin_mm) @ np.asarray(grid.direction)
    away: Array = (along - _on_grid(grid.spacing_mm, len(corners), first)) / grid.spacing_mm
    return away


def _off(grid: Grid, corners: Array, first: Slice) -> Array:
    """Tell how far, in voxels, the farthest corner of each image lies from its place on a grid."""
    farthest: Array = np.linalg.norm(_away(grid, corners, first), axis=-1).max(axis=1)
    return farthest


def _lie_within(away: Array, step: float) -> bool:
    """Tell whether corners that lie so far ``away``, in voxels, are near enough."""
    rounded = np.abs(away[..., 2:]) <= rounding(step) / step
    return bool((np.linalg.norm(away * np.where(rounded, (1, 1, 0), 1), axis=-1) <= MOVED_WITHIN).all())


def _fitted(exact: Grid, corners: Array, in_plane: Array, first: Slice) -> Grid:
    """Lay a grid as near to all corners as it goes. Source: W. Kabsch, "A solution for the best rotation", 1976."""
    spacing = (float(in_plane[0]), float(in_plane[1]), exact.spacing_mm[2])
    if len(corners) > 1:
        depths = corners.mean(axis=1) @ np.asarray(exact.direction)[:, 2]
        spacing = (*spacing[:2], float(np.polyfit(np.arange(len(depths)), depths, 1)[0]))
    points = _on_grid(spacing, len(corners), first).reshape(-1, 3)
    targets = corners.reshape(-1, 3)
    middle, target = points.mean(axis=0), targets.mean(axis=0)
    u, _, v = np.linalg.svd((targets - target).T @ (points - middle) + 1e-9 * np.asarray(exact.direction))
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))]) @ v
    return replace(exact, spacing_mm=spacing, origin_mm=_point(target - turn @ middle), direction=_rows(turn))


def _even(exact: Grid, corners: Array, in_plane: Array, placed: Sequence[Slice]) -> Grid | None:
    """Lay an even grid beside images that are parallel, and tilted or unevenly spaced; none where that is not all."""
    if len(placed) == 1:
        return None
    first, axes = placed[0], np.asarray(exact.direction)
    along = (corners - exact.origin_mm) @ axes
    places, step = even_places(along[:, 0], in_plane.tolist(), MOVED_WITHIN / 2)
    spacing = (float(in_plane[0]), float(in_plane[1]), step)
    begin, size = grid_around(places, first.columns, first.rows)
    own = _on_grid(spacing, 1, first) + (places * spacing)[:, None]
    away = (along - own) / spacing
    behind = away[..., 2].mean()  # of an even stack: how far the first image was rounded from its place
    unlike = _unlike(places, spacing)
    if not size or not unlike or not _lie_within(away - (0, 0, behind), step):
        return None
    sizes = " x ".join(map(str, size))
    mm = " x ".join(f"{one:.4g}" for one in spacing)
    sent = f"The slices are {unlike}: {len(placed)} images of {first.columns} x {first.rows} pixels."
    made = f"They were put on an even grid of {sizes} voxels, {mm} mm apart, by linear interpolation."
    grew = size[:2] != [first.columns, first.rows]
    outside = " Voxels outside of the images have the smallest value in these." if grew else ""
    return replace(
        exact,
        spacing_mm=check_spacing(spacing),
        origin_mm=check_origin(_point(exact.origin_mm + axes @ (np.add(begin, (0, 0, behind)) * spacing))),
        dimensions=(size[0], size[1], size[2]),
        places=tuple((i, j, k) for i, j, k in (places - begin).tolist()),
        remarks=(Remark(RESAMPLED, f"{sent} {made}{outside}"),),
    )


def _unlike(places: Array, spacing: Sequence[float]) -> str:
    """Say what keeps images from being slices of the grid in which they lie at ``places`` (voxels), if anything."""
    i_mm, j_mm, k_mm = (places[-1] - places[0]) * spacing
    gaps = np.diff(places[:, 2]) * spacing[2]
    words = []
    if (beside := math.hypot(i_mm, j_mm)) > LEAST_MM:
        words.append(f"tilted by {math.degrees(math.atan2(beside, k_mm)):.1f} degrees against the stack")
    if np.ptp(gaps) > LEAST_MM:
        words.append(f"{gaps.min():.4g} to {gaps.max():.4g} mm apart")
    return " and ".join(words)


def _why_not(placed: Sequence[Slice], off: Array) -> VolumeRefused:
    """Say what it is that keeps images from lying on one grid, from which each is ``off`` by so many voxels."""
    positions, axes, spacing = _arrays(placed)
    along_k = _square(axes[0])[:, 2]
    depths = positions @ along_k
    gaps = np.diff(depths)
    worst = int(off.argmax())
    limit = f"at most {MOVED_WITHIN:g} of a voxel is taken. {REMEDY}"
    where = (
        f"{_placed(placed[worst], depths[worst])} lies {off[worst]:.2g} voxels from its place on an even grid; {limit}"
    )
    turned = np.abs(axes - axes[0]).max(axis=1)
    if turned.max() > LEAST_MM:
        other = placed[int(turned.argmax())]
        rule = f"The images lie in different directions; {other.within} is turned against {placed[0].within}"
        return VolumeRefused("different-directions", f"{rule}: {where}")
    sizes = np.abs(spacing - spacing[0]).max(axis=1)
    if sizes.max() > LEAST_MM:
        far = int(sizes.argmax())
        these = f"{tuple(spacing[0].tolist())} and, in {placed[far].within}, {tuple(spacing[far].tolist())} mm"
        return VolumeRefused("different-spacing", f"The images differ in pixel spacing: {these}; {where}")
    from_first = positions - positions[0]
    beside = np.linalg.norm(from_first - np.outer(from_first @ along_k, along_k), axis=1)
    within_mm = MOVED_WITHIN * min(spacing[0])
    if beside.max() > within_mm:
        if np.allclose(beside, beside[-1] * (depths - depths[0]) / (depths[-1] - depths[0]), rtol=0, atol=within_mm):
            degrees = math.degrees(math.atan2(beside[-1], depths[-1] - depths[0]))
            rule = f"The slices are tilted by {degrees:.1f} degrees against the stack (a tilted gantry)"
            return VolumeRefused("gantry-tilt", f"{rule}: {where}")
        far = int(beside.argmax())
        rule = f"{_placed(placed[far], depths[far])} lies {beside[far]:.2f} mm beside the stack"
        return VolumeRefused("crooked-stack", f"{rule[0].upper()}{rule[1:]}; {limit}")
    if len(gaps) and np.ptp(gaps) > LEAST_MM:
        rule = f"The slices are not evenly spaced: {gaps.min():.4g} to {gaps.max():.4g} mm apart"
        return VolumeRefused("uneven-spacing", f"{rule}; {where}")
    return VolumeRefused("direction", f"The images' rows and columns are not at right angles: {where}")


def _point(numbers: Array) -> Point:
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def _rows(axes: Array) -> tuple[Point, Point, Point]:
    return _point(axes[0]), _point(axes[1]), _point(axes[2])
