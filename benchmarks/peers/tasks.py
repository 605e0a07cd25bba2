"""Tasks that stand for other people's: one performs for a second and marks organs, one has a warm network."""

import time
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import nn

from Inputs import FloatInput, VolumeInput
from tomaat.services import Outputs, Task
from tomaat.volumes import Labels, Volume

SECONDS = 1.0  #: that marking takes, as on a device
EACH_WAY = 4  #: organs along i, j and k, less those of the last corner
ORGANS = 59
CHANNELS, LAYERS, SIZE = 16, 2, 28  #: of the network: some 70 ms on two cores


class MarkTask(Task):
    """Marks balls, as a network marks organs, and takes a second for it."""

    task_identifier = "Mark"
    description = "Marks organs that are not there."
    inputs = (VolumeInput("scan", "CT"),)

    def perform(self, scan: Volume) -> Outputs:
        """Return labels on the scan's grid."""
        over = time.monotonic() + SECONDS
        labels = organs(scan.array.shape)
        time.sleep(max(0.0, over - time.monotonic()))
        names = {value: f"organ {value}" for value in range(1, ORGANS + 1)}
        return {"organs": Labels(volume=scan.like(labels), names=names)}


def organs(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Make labels, uint8 of a shape (i, j, k): balls, stretched as the volume is."""
    labels = np.zeros(shape, np.uint8)
    sizes = [length // EACH_WAY for length in shape]
    i, j, k = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in sizes)]
    ball = i**2 + j**2 + k**2 < 0.8
    corners = list(product(range(EACH_WAY), repeat=3))[:ORGANS]
    for value, corner in enumerate(corners, start=1):
        box = tuple(slice(place * size, (place + 1) * size) for place, size in zip(corner, sizes, strict=True))
        labels[box][ball] = value
    return labels


class WarmTask(Task):
    """Runs a small 3-D network that was loaded before, on voxels of its own: nothing is to be read."""

    task_identifier = "Warm"
    description = "Runs a network on a number."
    inputs = (FloatInput("number", "A number"),)

    def load(self, device: torch.device) -> None:
        """Make the network, with weights that are the same each time."""
        torch.manual_seed(1)
        inner = [nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LAYERS)]
        self.network = nn.Sequential(nn.Conv3d(1, CHANNELS, 3, padding=1), *inner).to(device).eval()
        self.voxels = torch.rand(1, 1, SIZE, SIZE, SIZE, device=device)

    @torch.inference_mode()
    def perform(self, number: float) -> Outputs:
        """Return the mean of what the network makes of the voxels."""
        return {"mean": float(self.network(self.voxels + number).mean())}
