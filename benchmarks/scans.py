"""Volumes that are like a scanner's, packed as ``.nii.gz``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from isal import igzip

AIR_HU = -1000
NOISE_HU = 6
NOISY_SLICES = 16  #: each comes again after so many: a packer does not look back that far


def middle_voxels() -> np.ndarray[Any, Any]:
    """Make 26 MB of int16, of shape (k, j, i) = (200, 256, 256)."""
    return np.random.default_rng(1).normal(0, 20, (200, 256, 256)).cumsum(axis=2).astype(np.int16)


def ct_voxels(shape: tuple[int, int, int] = (300, 512, 512)) -> np.ndarray[Any, Any]:
    """Make a CT, int16 in HU, of shape (k, j, i): a body of noisy tissue in still air; 157 MB."""
    slices, rows, columns = shape
    j, i = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    body = (j / 0.7) ** 2 + (i / 0.9) ** 2 < 1
    noise = np.random.default_rng(2).normal(40, NOISE_HU, (NOISY_SLICES, rows, columns)).astype(np.int16)
    tissue = np.where(body, noise, np.int16(AIR_HU))
    return np.take(tissue, np.arange(slices) % NOISY_SLICES, axis=0)


def packed(voxels: np.ndarray[Any, Any], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> bytes:
    """Pack voxels of shape (k, j, i) as ``.nii.gz``, quickly; the spacing is along i, j, k."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing_mm)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii"
        sitk.WriteImage(image, str(path))
        return igzip.compress(path.read_bytes(), 2)
