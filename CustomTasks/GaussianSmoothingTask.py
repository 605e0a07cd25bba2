"""Smooth a volume."""

import math

import torch
from torch.nn import functional

from Inputs import FloatInput, VolumeInput
from tomaat.services import Outputs, Task
from tomaat.volumes import Volume

TRUNCATE = 4.0  #: standard deviations at which the kernel ends
SLAB_VOXELS = 2**24  #: voxels that are convolved at once, so that a large volume needs little more than itself


class GaussianSmoothingTask(Task):
    """Convolves a volume with a Gaussian of a width in mm, one axis after the other.

    The Gaussian separates into its axes (Canny, IEEE PAMI 8(6), 1986); at the edges the outermost voxels go on, and
    the kernel ends at four standard deviations, both as ``scipy.ndimage.gaussian_filter(mode="nearest")`` does.
    """

    task_identifier = "GaussianSmoothing"
    description = "Smooths a volume with a Gaussian; the result has the input's geometry exactly."
    intended_use = "Research: less noise before a measurement or a segmentation. Not a medical device."
    licence = "Apache-2.0"
    reference = "J. Canny, A Computational Approach to Edge Detection, IEEE PAMI 8(6), 1986"
    inputs = (
        VolumeInput("volume", "CT or MRI volume"),
        FloatInput("sigma", "Standard deviation", minimum=0.1, maximum=20.0, default=2.0, unit="mm"),
    )
    example = {  # noqa: RUF012 (read only)
        "volume": {"file": "phantom_head.nii.gz", "about": "A phantom: a head drawn by code, nobody's scan."},
        "sigma": 4.0,
    }

    def load(self, device: torch.device) -> None:
        """Remember the device; there is no network."""
        self.device = device

    def perform(self, volume: Volume, sigma: float) -> Outputs:
        """Return the smoothed volume, float32."""
        voxels = volume.tensor(self.device)
        for axis, spacing_mm in enumerate(volume.spacing_mm):
            self.progress(axis / 3, f"smoothing, direction {axis + 1} of 3")
            voxels = smoothed(voxels, axis, sigma / spacing_mm)
        return {"smoothed": volume.like(voxels)}


def smoothed(voxels: torch.Tensor, axis: int, sigma_voxels: float) -> torch.Tensor:
    """Convolve a tensor of shape (i, j, k) along one axis; ``sigma_voxels`` is in voxels of that axis."""
    radius = max(1, math.ceil(TRUNCATE * sigma_voxels))
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (distance / sigma_voxels) ** 2)
    weights = (kernel / kernel.sum()).to(voxels).reshape(1, 1, -1)
    lines = voxels.movedim(axis, -1)
    flat = lines.reshape(-1, 1, lines.shape[-1])
    slab = max(1, SLAB_VOXELS // (flat.shape[-1] + 2 * radius))
    done = [
        functional.conv1d(functional.pad(part, (radius, radius), mode="replicate"), weights)
        for part in flat.split(slab)
    ]
    return torch.cat(done).reshape(lines.shape).movedim(-1, axis)
