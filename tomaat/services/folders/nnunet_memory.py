"""How much memory a ticket of an nnU-Net will take, told before it starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.nnunet_model import SPATIAL, NnunetModel
from tomaat.services.folders.nonzero import box_of, within
from tomaat.volumes import Volume

SLAB_BYTES = 256 * 1024**2  #: of float64 outputs that are resampled at once, on a GPU
CPU_SLAB_BYTES = 4 * 1024**2  #: on a CPU, as its cache holds
SLABS = 4  #: of that size, at once
MOST_OF_DEVICE = 0.8  #: of the device's memory that outputs at full size may take; above, they lie in the machine's
READ_BYTES = 4  #: of a voxel and channel that was sent
CROPPED_BYTES = 4 + 8  #: of one within the box of what is not 0: copied, and resampled as float64
RESAMPLED_BYTES = 4 + 3 * 8  #: of a voxel of one channel at the network's spacing: the result, and float64 on the way
#: Bytes of an output's voxel: float16, and what is taken to find infinities.
OUTPUT_BYTES = 2 + 2 + 1
LAYERS = 6  #: float32 tensors of the first stage's size that a U-Net holds at once, roughly
USUAL_FEATURES = 32  #: of the first stage, where the plans do not say


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Estimates for one ticket."""

    outputs: int  #: of the network
    seen: tuple[int, ...]  #: voxels at the network's spacing, along its axes
    prepared_bytes: int  #: of the machine's memory, until the network begins
    data_bytes: int  #: what the network sees
    device_bytes: int  #: outputs and data at full size, wherever they lie
    labels_bytes: int  #: for the way back, on the network's device; the labels themselves lie in the machine's memory
    layers_bytes: int  #: what the network takes at work, roughly

    @classmethod
    def of(cls, model: NnunetModel, volumes: Mapping[str, Volume], *, several: bool, on_gpu: bool) -> Wanted:
        """Estimate for volumes on one grid; ``several`` folds need two sets of outputs at once.

        The network sees the box of what is not 0. Raises ``TaskRefused`` where all is.
        """
        whole = next(iter(volumes.values()))
        volume = within(whole, box_of(volumes))
        order = model.plans["transpose_forward"]
        axes = [2, 1, 0]
        if model.reorients:
            axes = [int(np.argmax(np.abs(np.asarray(volume.direction)[row]))) for row in axes]
        shape = [volume.array.shape[axes[axis]] for axis in order]
        spacing = [volume.spacing_mm[axes[axis]] for axis in order]
        patch, target = model.configuration["patch_size"], model.configuration["spacing"]
        tile = math.prod(patch)
        flat = len(target) < SPATIAL
        target, patch = ([spacing[0], *target], [1, *patch]) if flat else (target, patch)
        sides = zip(shape, spacing, target, patch, strict=True)
        seen = tuple(max(round(count * mm / goal), least) for count, mm, goal, least in sides)
        channels, outputs, voxels, tiled = len(model.channels), model.labels.outputs, math.prod(shape), math.prod(seen)
        sent = whole.array.size
        data_bytes = 4 * channels * tiled
        slab_bytes = max(SLAB_BYTES if on_gpu else CPU_SLAB_BYTES, 8 * outputs * math.prod(shape[1:]))
        return cls(
            outputs=outputs,
            seen=seen,
            prepared_bytes=READ_BYTES * channels * sent
            + CROPPED_BYTES * channels * voxels
            + RESAMPLED_BYTES * tiled
            + data_bytes,
            data_bytes=data_bytes,
            device_bytes=2 * data_bytes + (OUTPUT_BYTES + 2 * several) * outputs * tiled,
            labels_bytes=SLABS * min(slab_bytes, 8 * outputs * voxels) + 4 * sent,
            layers_bytes=LAYERS * 4 * features_of(model) * tile,
        )

    def fits_on(self, gpu_bytes: int) -> bool:
        """Tell whether the outputs at full size are to lie on a GPU."""
        return self.device_bytes + self.labels_bytes < MOST_OF_DEVICE * gpu_bytes

    def expected(self, *, on_device: bool) -> ExpectedMemory:
        """Give the whole need; ``on_device``: the outputs lie on a GPU.

        Nothing of a GPU's memory is sure: once it ran out, the outputs lie in the machine's.
        """
        seeing = self.data_bytes if on_device else self.device_bytes + self.labels_bytes
        shape = " x ".join(map(str, self.seen))
        working = self.device_bytes + max(self.layers_bytes, self.labels_bytes) if on_device else self.layers_bytes
        return ExpectedMemory(
            machine_bytes=max(self.prepared_bytes, seeing),
            layers_bytes=working,
            about=f"for {self.outputs} outputs of {shape} voxels",
        )


def features_of(model: NnunetModel) -> int:
    """Tell how many channels the network has at full resolution; plans of before 2024 name a base number."""
    architecture = model.configuration.get("architecture")
    arguments = architecture.get("arch_kwargs") if isinstance(architecture, dict) else None
    stages = arguments.get("features_per_stage") if isinstance(arguments, dict) else None
    named = stages[0] if isinstance(stages, list) and stages else model.configuration.get("UNet_base_num_features")
    return named if isinstance(named, int) and not isinstance(named, bool) and named > 0 else USUAL_FEATURES
