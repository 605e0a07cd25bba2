"""A volume: voxels with their geometry, the one object in which a task meets an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tomaat.headers.orientation import AXES, axes_for, is_orientation, orientation_of
from tomaat.headers.volume_header import Point
from tomaat.refusals import WrongValue
from tomaat.volumes.dicom_source import DicomSource
from tomaat.volumes.sampling import check_sampling
from tomaat.volumes.tensors import voxels_of

if TYPE_CHECKING:
    import torch

ORTHONORMAL_WITHIN = 1e-3  #: by which a product of two axes may differ from 0 or 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Voxels ``array[i, j, k]`` and where they lie in the patient.

    The array's axes are i, j, k: the image's own, in the order of ``spacing_mm`` and of the columns of ``direction``.
    Positions are in mm in LPS (x to the patient's left, y to posterior, z to superior), as ITK and DICOM have them.
    A volume is not changed; each method makes another, whose voxels may be the same memory.

    Raises ``WrongValue`` for an array that is not 3-D, for a spacing that is not more than 0, for an origin that is not
    finite, and for axes that are not at right angles, of length 1.

    >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
    """

    array: np.ndarray[Any, Any]  #: shape (i, j, k)
    spacing_mm: Point  #: between the centres of neighbouring voxels, along i, j, k
    origin_mm: Point  #: centre of voxel (0, 0, 0)
    direction: tuple[Point, Point, Point]  #: rows of a matrix whose columns are the axes i, j, k
    dicom: DicomSource | None = field(default=None, repr=False)  #: of a series that was sent; made volumes have none

    def __post_init__(self) -> None:
        if self.array.ndim != 3:  # noqa: PLR2004 (i, j, k)
            raise WrongValue(
                f"array: shape {self.array.shape} has {self.array.ndim} axes; a volume has three, i, j, k."
            )
        _along_axes(tuple(self.spacing_mm))
        _check_point("origin_mm", self.origin_mm)
        axes = np.asarray(self.direction, np.float64)
        if axes.shape != (3, 3) or not np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=ORTHONORMAL_WITHIN):
            raise WrongValue(
                f"direction: the volume's axes are not at right angles within {ORTHONORMAL_WITHIN:g}; "
                "resample it to a regular grid."
            )

    # Where voxels lie

    def to_physical(self, index: Sequence[float]) -> Point:
        """Tell where in the patient (LPS, mm) the point ``index`` = (i, j, k) lies, between voxels too.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((2, 2, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> volume.to_physical((1, 0, 1))
        (1.0, 0.0, 13.0)
        """
        x, y, z = np.asarray(self.direction) @ (np.asarray(self.spacing_mm) * np.asarray(index)) + self.origin_mm
        return float(x), float(y), float(z)

    def to_index(self, point_mm: Sequence[float]) -> Point:
        """Tell at which (i, j, k) a point of the patient (LPS, mm) lies, between voxels and outside too.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((2, 2, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> volume.to_index((1.0, 0.0, 11.5))
        (1.0, 0.0, 0.5)
        """
        offset = np.asarray(point_mm, np.float64) - np.asarray(self.origin_mm)
        i, j, k = np.linalg.solve(np.asarray(self.direction), offset) / np.asarray(self.spacing_mm)
        return float(i), float(j), float(k)

    @property
    def center_mm(self) -> Point:
        """The middle of the volume (LPS, mm): halfway between its first and last voxels along i, j and k.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> Volume(array=np.zeros((5, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes).center_mm
        (2.0, 1.0, 11.5)
        """
        return self.to_physical([(count - 1) / 2 for count in self.array.shape])

    @property
    def voxel_ml(self) -> float:
        """The volume of one voxel in ml, from the spacing along i, j and k.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> Volume(array=np.zeros((5, 3, 2)), spacing_mm=(1, 2, 5), origin_mm=(0, 0, 0), direction=axes).voxel_ml
        0.01
        """
        return float(np.prod(self.spacing_mm)) / 1000

    @property
    def orientation(self) -> str:
        """Where i, j and k point to, as the nearest of the patient's axes: ``LPS`` for an axial scan as DICOM has it.

        >>> axes = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0))
        >>> Volume(array=np.zeros((2, 2, 2)), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes).orientation
        'RAS'
        """
        return orientation_of(self.direction)

    # Other volumes

    def like(self, array: Any) -> Volume:
        """Make a volume of other voxels in the same place: an array or a tensor of the same shape (i, j, k).

        A tensor of a type that numpy does not have, such as bfloat16, becomes float32. Raises ``WrongValue`` for
        another shape, since then the geometry would be another.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> mask = volume.like(volume.array > 0)
        >>> mask.array.dtype, mask.to_physical((0, 0, 0)) == volume.to_physical((0, 0, 0))
        (dtype('bool'), True)
        """
        array = voxels_of(array) if hasattr(array, "detach") else np.asarray(array)
        if array.shape != self.array.shape:
            raise WrongValue(f"an array of shape {array.shape} does not lie like a volume of shape {self.array.shape}")
        return replace(self, array=array, dicom=None)

    def reoriented(self, orientation: str) -> Volume:
        """Turn and flip the axes so that i, j, k point as ``orientation`` says; no voxel's value or place changes.

        ``RAS``: i to the patient's right, j to anterior, k to superior. Raises ``WrongValue`` for no orientation.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> turned = volume.reoriented("SAR")
        >>> turned.array.shape, turned.spacing_mm, turned.origin_mm
        ((2, 3, 4), (3, 1, 1), (3.0, 2.0, 10.0))
        """
        if not is_orientation(orientation):
            raise WrongValue("orientation: {!r} is none; write one letter of LR, one of PA, one of SI.", orientation)
        now = self.orientation
        order = axes_for(orientation, now)
        flipped = [AXES[now[source]] != AXES[letter] for source, letter in zip(order, orientation, strict=True)]
        first = [0, 0, 0]
        for source, flip in zip(order, flipped, strict=True):
            first[source] = self.array.shape[source] - 1 if flip else 0
        axes = np.asarray(self.direction)[:, order] * [-1.0 if flip else 1.0 for flip in flipped]
        array = np.flip(self.array.transpose(order), [n for n in range(3) if flipped[n]])
        spacing_mm = (self.spacing_mm[order[0]], self.spacing_mm[order[1]], self.spacing_mm[order[2]])
        return Volume(array=array, spacing_mm=spacing_mm, origin_mm=self.to_physical(first), direction=_rows(axes))

    def resampled(self, spacing_mm: float | Sequence[float], *, interpolation: str = "linear") -> Volume:
        """Sample the volume at another spacing: in mm, one for all axes or one for each of i, j, k.

        Axes and middle stay. The result has as many voxels as fill the same space. Nothing is smoothed first.
        ``interpolation`` is ``linear``, ``nearest`` (for labels) or ``cubic``, which is by splines, but linear where
        the volume has two voxels along an axis: too few for them. The voxels' type stays: a value between
        two whole numbers is rounded to the nearer one, and half way to the even one. Raises ``WrongValue`` for a
        spacing or an interpolation that does not exist.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> finer = volume.resampled(0.5)
        >>> finer.array.shape, finer.center_mm == volume.center_mm
        ((8, 6, 12), True)
        """
        spacing = _along_axes(spacing_mm)
        extent = np.asarray(self.array.shape) * self.spacing_mm
        size = np.maximum(1, np.round(extent / spacing)).astype(int)
        return self._sampled(self.center_mm, size, spacing, interpolation, 0.0)

    def cropped(
        self,
        center_mm: Sequence[float],
        size: Sequence[int],
        *,
        spacing_mm: float | Sequence[float] | None = None,
        interpolation: str = "linear",
        outside: float = 0.0,
    ) -> Volume:
        """Cut out a block of ``size`` = (i, j, k) voxels with its middle at a point of the patient (LPS, mm).

        Without ``spacing_mm`` the block is of the volume's own voxels, its middle as near to the point as they allow.
        With it, the block is sampled at that spacing as by ``resampled``, its middle exactly there. Voxels outside of
        the volume have the value ``outside``. Raises ``WrongValue`` for a point that is not finite, for a size that is
        not of whole numbers above 0, for a spacing or an interpolation that does not exist, and for an ``outside`` that
        the voxels' type does not have.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> block = volume.cropped((3.0, 1.0, 10.0), (2, 3, 1))
        >>> block.array.shape, block.origin_mm
        ((2, 3, 1), (2.0, 0.0, 10.0))
        """
        _check_point("center_mm", center_mm)
        count = _counts(size)
        check_sampling(self.array.dtype, interpolation, outside)
        if spacing_mm is not None:
            return self._sampled(center_mm, count, _along_axes(spacing_mm), interpolation, outside)
        first = np.round(np.asarray(self.to_index(center_mm)) - (count - 1) / 2).astype(int)
        array = np.full(tuple(count), outside, self.array.dtype)
        low = np.maximum(first, 0)
        high = np.minimum(first + count, self.array.shape)
        if (high > low).all():
            there = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
            array[there] = self.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        return replace(self, array=array, origin_mm=self.to_physical(first.tolist()), dicom=None)

    def onto(self, grid: Volume, *, interpolation: str = "linear", outside: float = 0.0) -> Volume:
        """Sample this volume at the voxels of ``grid``: the way back from a block to the input that it was cut from.

        The result has the shape (i, j, k) of ``grid``, lies in its place, and has the type of this volume's voxels: a
        value between two whole numbers is rounded as by ``resampled``. Raises ``WrongValue`` as ``cropped`` does.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> block = volume.cropped((3.0, 1.0, 10.0), (2, 3, 1))
        >>> found = block.like(block.array == 0)
        >>> int(found.onto(volume, interpolation="nearest").array.sum())
        6
        """
        from tomaat.volumes.images import sampled  # noqa: PLC0415 (SimpleITK)

        check_sampling(self.array.dtype, interpolation, outside)
        return sampled(self, grid, interpolation, outside)

    def tensor(self, device: torch.device | str) -> torch.Tensor:
        """Copy the voxels to a float32 tensor of shape (i, j, k) on ``device``.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((4, 3, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> tuple(volume.tensor("cpu")[None, None].shape)  # batch, channel, i, j, k: as torch's Conv3d takes it
        (1, 1, 4, 3, 2)
        """
        import torch  # noqa: PLC0415 (only tasks, in a worker, ask for tensors)

        if torch.device(device).type != "cpu" and self.array.dtype.itemsize <= np.float32().itemsize:
            return moved(self.array, device)
        return torch.from_numpy(self.array.astype(np.float32, order="C")).to(device)

    def _sampled(
        self, center_mm: Sequence[float], size: Any, spacing: Point, interpolation: str, outside: float
    ) -> Volume:
        first = np.asarray(center_mm) - np.asarray(self.direction) @ ((np.asarray(size) - 1) / 2 * spacing)
        grid = Volume(
            array=np.broadcast_to(np.zeros(1, self.array.dtype), tuple(size)),
            spacing_mm=spacing,
            origin_mm=(float(first[0]), float(first[1]), float(first[2])),
            direction=self.direction,
        )
        return self.onto(grid, interpolation=interpolation, outside=outside)


def moved(array: np.ndarray[Any, Any], device: torch.device | str) -> torch.Tensor:
    """Copy voxels of shape (i, j, k) to a device as they lie in a file, and let it make a float32 tensor of them."""
    import torch  # noqa: PLC0415 (as above)

    native = array.T.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    there = torch.from_numpy(native).to(device)
    return torch.empty(array.shape, dtype=torch.float32, device=device).copy_(there.permute(2, 1, 0))


def _are_three(numbers: Any, *, above: float = -math.inf) -> bool:
    return np.shape(numbers) == (3,) and all(above < number < math.inf for number in numbers)


def _check_point(name: str, point_mm: Sequence[float]) -> None:
    if not _are_three(point_mm):
        raise WrongValue(f"{name}: {{}} must be three finite numbers, x, y, z.", point_mm)


def _along_axes(spacing_mm: float | Sequence[float]) -> Point:
    """Take one spacing for all axes, or one along each of i, j, k."""
    three: Any = spacing_mm if np.ndim(spacing_mm) else [spacing_mm] * 3
    if not _are_three(three, above=0.0):
        raise WrongValue("spacing_mm: {} must be more than 0 mm along each axis, and finite.", spacing_mm)
    i, j, k = map(float, three)
    return i, j, k


def _counts(size: Sequence[int]) -> Any:
    """Take the numbers of voxels along i, j, k."""
    if not _are_three(size, above=0.0) or any(count != int(count) for count in size):
        raise WrongValue("size: {} must be three whole numbers of voxels, along i, j, k, each more than 0.", size)
    return np.asarray(size, int)


def _rows(axes: np.ndarray[Any, Any]) -> tuple[Point, Point, Point]:
    a, b, c = ((float(row[0]), float(row[1]), float(row[2])) for row in axes)
    return a, b, c
