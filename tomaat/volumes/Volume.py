"""A volume: voxels with their geometry, the one object in which a task meets an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Voxels ``array[i, j, k]`` and where they lie in the patient.

    The array's axes are i, j, k: the image's own, in the order of ``spacing_mm`` and of the columns of ``direction``.
    Positions are in mm in LPS (x to the patient's left, y to posterior, z to superior), as ITK and DICOM have them.
    """

    array: np.ndarray[Any, Any]  #: shape (i, j, k)
    spacing_mm: Point  #: between the centres of neighbouring voxels, along i, j, k
    origin_mm: Point  #: centre of voxel (0, 0, 0)
    direction: tuple[Point, Point, Point]  #: rows of a matrix whose columns are the axes i, j, k

    def to_physical(self, index: Sequence[float]) -> Point:
        """Tell where in the patient (LPS, mm) the point ``index`` = (i, j, k) lies, between voxels too.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> volume = Volume(array=np.zeros((2, 2, 2)), spacing_mm=(1, 1, 3), origin_mm=(0, 0, 10), direction=axes)
        >>> volume.to_physical((1, 0, 1))
        (1.0, 0.0, 13.0)
        """
        x, y, z = np.asarray(self.direction) @ (np.asarray(self.spacing_mm) * np.asarray(index)) + self.origin_mm
        return float(x), float(y), float(z)

    def tensor(self, device: torch.device | str) -> torch.Tensor:
        """Copy the voxels to a float32 tensor of shape (i, j, k) on ``device``."""
        import torch  # noqa: PLC0415 (only tasks, in a worker, ask for tensors)

        return torch.from_numpy(self.array.astype(np.float32, order="C")).to(device)

    def like(self, array: Any) -> Volume:
        """Make a volume of other voxels in the same place: an array or a tensor of the same shape (i, j, k).

        Raises ``ValueError`` for another shape, since then the geometry would be another.
        """
        if hasattr(array, "detach"):
            array = array.detach().cpu().numpy()
        array = np.asarray(array)
        if array.shape != self.array.shape:
            raise ValueError(f"an array of shape {array.shape} does not lie like a volume of shape {self.array.shape}")
        return Volume(array=array, spacing_mm=self.spacing_mm, origin_mm=self.origin_mm, direction=self.direction)
