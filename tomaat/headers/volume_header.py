"""A volume's header, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tomaat.headers.remark import Remark

Point = tuple[float, float, float]
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
    """Size, type and place of the voxels in a file, or in the files of a DICOM series."""

    format: str  #: ``nifti``, ``nrrd``, ``mha`` or ``dicom``
    dimensions: tuple[int, int, int]  #: voxels along i, j, k (the first runs fastest in the file)
    dtype: str  #: numpy's name of the type on disk
    spacing_mm: Point  #: along i, j, k
    origin_mm: Point  #: centre of voxel (0, 0, 0), in LPS
    direction: tuple[Point, Point, Point]  #: rows of a matrix whose columns are the axes i, j, k, in LPS
    compression: str  #: ``none``, ``gzip`` or ``zlib``; ``images`` where each image has its own
    voxel_offset: int  #: bytes before the voxels, after inflating where the whole file is compressed
    whole_file_compressed: bool  #: NIfTI's ``.nii.gz``, rather than the voxels alone
    slope: float = 1.0  #: NIfTI's; with the intercept it makes other values, and another type, of those on disk
    intercept: float = 0.0
    byte_order: str = "little"  #: of the voxels: ``little`` or ``big``
    own_rules: bool = False  #: SimpleITK refuses this header, or reads other things from it
    modality: str | None = None  #: DICOM's word, such as ``CT``; no other format has one
    largest_gap_mm: float | None = None  #: between two images of a series that is resampled, along k
    remarks: tuple[Remark, ...] = ()  #: for whoever sent it

    @property
    def scaled(self) -> bool:
        """Tell whether the values are others than those on disk."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def value_dtype(self) -> str:
        """The type of the values, which ITK makes of scaled ones."""
        return "float32" if self.scaled and self.dtype != "float64" else self.dtype

    @property
    def value_bytes(self) -> int:
        """The bytes of all values."""
        return math.prod(self.dimensions) * BYTES_OF[self.value_dtype]

    @property
    def slice_bytes(self) -> int:
        """The bytes of the voxels of one k on disk, inflated."""
        return math.prod(self.dimensions[:2]) * BYTES_OF[self.dtype]

    @property
    def voxel_bytes(self) -> int:
        """The bytes of all voxels as they are on disk, inflated."""
        return math.prod(self.dimensions) * BYTES_OF[self.dtype]
