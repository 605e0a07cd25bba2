"""The task of a trained-model folder of nnU-Net: it asks the network, and names what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.folder_task import FolderTask, on_one_grid
from tomaat.services.folders.nnunet_memory import Wanted
from tomaat.services.folders.nnunet_model import NnunetModel
from tomaat.services.task import Outputs
from tomaat.services.task_refused import TaskRefused
from tomaat.volumes import Code, Labels, Volume

FOLDS = "folds"  #: the id of an input
TILE_STEP = "tile_step"  #: likewise
MIRRORING = "mirroring"  #: likewise
TOGETHER = "together"  #: of the choices of ``folds``: the mean of all
DEFAULT_TILE_STEP = 0.5  #: nnU-Net's own


class NnunetTask(FolderTask):
    """Segments a volume; ``make_nnunet`` makes a class of it for each folder."""

    model: ClassVar[NnunetModel]
    channel_ids: ClassVar[tuple[str, ...]]  #: of the volumes' inputs, in the order of the network's channels
    codes: ClassVar[Mapping[int, Code]]  #: of the labels whose names DICOM's own list has
    network: Any = None
    refuses = (
        "voxels that are no finite numbers",
        "volumes of zeros only",
        "a part other than 0 that is thinner than half a voxel of the network",
    )
    packages = (
        *("nnunetv2", "torch", "dynamic_network_architectures", "acvl_utils", "batchgenerators"),
        *("scipy", "scikit-image", "numpy"),
    )

    def load_network(self, device: Any) -> None:
        """Load the networks of all folds; raises ``FolderRefused``."""
        from tomaat.services.folders.nnunet_network import NnunetNetwork  # noqa: PLC0415 (torch and nnunetv2: seconds)

        self.network = NnunetNetwork(self.place, self.model, device)

    def warm_up(self) -> None:
        """Let cuDNN choose its ways."""
        self.network.warm_up()

    @property
    def label_names(self) -> Mapping[int, str]:
        """The labels' names, by their values."""
        return self.model.labels.names

    def expected_memory(self, inputs: Mapping[str, Any], *, gpu_bytes: int | None) -> ExpectedMemory:
        """Reckon the memory by the plans; after the GPU ran out, the outputs lie in the machine's memory."""
        several = len(self.chosen(inputs.get(FOLDS, TOGETHER))) > 1
        volumes = on_one_grid({id: inputs[id] for id in self.channel_ids})
        wanted = Wanted.of(self.model, volumes, several=several, on_gpu=gpu_bytes is not None)
        cramped = self.network is not None and self.network.ran_out
        return wanted.expected(on_device=gpu_bytes is not None and not cramped and wanted.fits_on(gpu_bytes))

    def perform(self, **inputs: Any) -> Outputs:
        """Return the labels on the volumes' grid, shape (i, j, k)."""
        volumes = on_one_grid({id: inputs[id] for id in self.channel_ids})
        demand_numbers(volumes)
        grid = volumes[self.channel_ids[0]]
        array = self.network.segment(
            list(volumes.values()),
            folds=self.chosen(inputs.get(FOLDS, TOGETHER)),
            tile_step=inputs.get(TILE_STEP, DEFAULT_TILE_STEP),
            mirroring=inputs.get(MIRRORING, True),
            progress=self.progress,
        )
        labels = Labels(volume=grid.like(array), names=self.model.labels.names, codes=self.codes)
        return {"segmentation": labels}

    def chosen(self, folds: str) -> tuple[str, ...]:
        """Tell the folds of a choice."""
        return self.model.together if folds == TOGETHER else (folds.removeprefix("fold_"),)


def demand_numbers(volumes: Mapping[str, Volume]) -> None:
    """Raise ``TaskRefused`` for voxels of which nnU-Net makes an answer without a meaning, and says nothing."""
    for id, volume in volumes.items():
        wrong = 0 if volume.array.dtype.kind in "bui" else int(np.count_nonzero(~np.isfinite(volume.array)))
        if wrong:
            rule = "are not finite numbers; give them the value of air, or of the background"
            raise TaskRefused(f"{id}: {wrong} of its voxels {rule}.", code="not-finite")
    if not any(volume.array.any() for volume in volumes.values()):
        raise TaskRefused(f"{', '.join(volumes)}: all voxels are 0; there is nothing to see.", code="nothing-to-see")
