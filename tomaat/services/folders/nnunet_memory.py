"""How much memory a ticket of an nnU-Net will take, told before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomaat.services.folders.nnunet_model import SPATIAL, NnunetModel
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Volume

SLAB_BYTES = 256 * 1024**2  #: of float64 outputs that are resampled at once, on a GPU
CPU_SLAB_BYTES = 4 * 1024**2  #: on a CPU, as its cache holds
#: Bytes of a voxel and channel while it is read, copied, and resampled as float64.
PREPARED_BYTES = 4 + 4 + 8
RESAMPLED_BYTES = 4 + 3 * 8  #: of a voxel of one channel at the network's spacing: the result, and float64 on the way
#: Bytes of an output's voxel: float16, and what is taken to find infinities.
OUTPUT_BYTES = 2 + 2 + 1
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Estimates for one ticket; the network's own working memory on its device is measured, not estimated."""

    outputs: int  #: of the network
    seen: tuple[int, ...]  #: voxels at the network's spacing, along its axes
    prepared_bytes: int  #: of the machine's memory, until the network begins
    data_bytes: int  #: what the network sees
    device_bytes: int  #: outputs and data at full size, wherever they lie
    labels_bytes: int  #: of the machine's memory, for the way back

    @classmethod
    def of(cls, model: NnunetModel, volume: Volume, *, several: bool) -> Wanted:
        """Estimate, as if nothing of the volume were cropped; ``several`` folds need two sets of outputs at once."""
        order = model.plans["transpose_forward"]
        axes = [2, 1, 0]
        if model.reorients:
            axes = [int(np.argmax(np.abs(np.asarray(volume.direction)[row]))) for row in axes]
        shape = [volume.array.shape[axes[axis]] for axis in order]
        spacing = [volume.spacing_mm[axes[axis]] for axis in order]
        patch, target = model.configuration["patch_size"], model.configuration["spacing"]
        flat = len(target) < SPATIAL
        target, patch = ([spacing[0], *target], [1, *patch]) if flat else (target, patch)
        sides = zip(shape, spacing, target, patch, strict=True)
        seen = tuple(max(round(count * mm / goal), least) for count, mm, goal, least in sides)
        channels, voxels, tiled = len(model.channels), math.prod(shape), math.prod(seen)
        data_bytes = 4 * channels * tiled
        return cls(
            outputs=model.labels.outputs,
            seen=seen,
            prepared_bytes=PREPARED_BYTES * channels * voxels + RESAMPLED_BYTES * tiled + data_bytes,
            data_bytes=data_bytes,
            device_bytes=2 * data_bytes + (OUTPUT_BYTES + 2 * several) * model.labels.outputs * tiled,
            labels_bytes=4 * max(SLAB_BYTES, 8 * model.labels.outputs * math.prod(shape[1:])) + 4 * voxels,
        )


def demand_room(wanted: Wanted, *, on_device: bool, free_bytes: int) -> None:
    """Raise ``TaskRefused`` where the machine's free memory does not suffice; ``on_device``: outputs lie on a GPU."""
    seeing = wanted.data_bytes if on_device else wanted.device_bytes + wanted.labels_bytes
    needed = max(wanted.prepared_bytes, seeing)
    if needed > free_bytes:
        shape = " x ".join(map(str, wanted.seen))
        raise TaskRefused(
            f"The network needs about {needed / GIB:.1f} GiB of the machine's memory, for {wanted.outputs} outputs of "
            f"{shape} voxels, and {free_bytes / GIB:.1f} GiB are free; send a part of the volume.",
            code="too-large",
        )
