"""What a volume's header says, once it was checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

BYTES_OF = {
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float32": 4,
    "float64": 8,
}  #: the voxel types that are taken, by their numpy names, and the bytes of one voxel


@dataclass(frozen=True, kw_only=True)
class VolumeHeader:
    """Size, type and place of the voxels in a file."""

    format: str  #: ``nifti``, ``nrrd`` or ``mha``
    dimensions: tuple[int, int, int]  #: voxels along i, j, k (the first runs fastest in the file)
    dtype: str  #: numpy's name of the type on disk
    scaled: bool  #: NIfTI's slope and intercept make other values, and another type, of what is on disk
    spacing_mm: tuple[float, float, float]  #: along i, j, k
    compression: str  #: ``none``, ``gzip`` or ``zlib``
    voxel_offset: int  #: bytes before the voxels, after inflating where the whole file is compressed
    whole_file_compressed: bool  #: NIfTI's ``.nii.gz``, rather than the voxels alone

    @property
    def voxel_bytes(self) -> int:
        """The bytes of all voxels as they are on disk, inflated."""
        return math.prod(self.dimensions) * BYTES_OF[self.dtype]
