"""The task of a MONAI bundle's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.folders.bundle_memory import BundleSizes
from tomaat.services.folders.bundle_metadata import BundleMetadata
from tomaat.services.folders.bundle_outputs import outputs_of
from tomaat.services.folders.folder_task import FolderTask, on_one_grid
from tomaat.services.folders.kept_modules import KeptModules
from tomaat.services.task import Outputs

OVERLAP = "tile_overlap"  #: the id of the input


class BundleTask(FolderTask):
    """A MONAI bundle as a service: its preprocessing, network, inferer and postprocessing, without its files."""

    packages = ("monai", "torch", "nibabel")
    metadata: ClassVar[BundleMetadata]
    sizes: ClassVar[BundleSizes]
    bundle: Any = None

    def load_network(self, device: Any) -> None:
        """Make the bundle's parts and load its weights. Raises ``FolderRefused``."""
        kept = KeptModules(self.place)  # before anything else is done, since the folder was trusted just now

        from tomaat.services.folders.bundle_run import Bundle  # noqa: PLC0415 (MONAI takes seconds)

        self.bundle = Bundle(kept, device, list(self.metadata.channels))

    @property
    def label_names(self) -> Mapping[int, str]:
        """The labels' names, as far as the metadata tell them."""
        told = {value: name for value, name in self.metadata.classes.items() if name != "background"}
        return (self.metadata.labels or told) if self.metadata.makes_labels else {}

    def expected_memory(self, inputs: Mapping[str, Any], *, gpu_bytes: int | None) -> ExpectedMemory | None:
        """Reckon the memory by the configuration, roughly: a bundle's transforms may take any."""
        channels = list(self.metadata.channels)
        features = None if self.bundle is None else self.bundle.features
        scan = inputs[channels[0]]
        return self.sizes.expected(scan, len(channels), features, on_gpu=gpu_bytes is not None)

    def perform(self, **inputs: Any) -> Outputs:
        """Run the bundle on the volumes, one for each channel, all on one grid."""
        volumes = on_one_grid({id: inputs[id] for id in self.metadata.channels})
        found = self.bundle.predict(list(volumes.values()), self.progress, inputs.get(OVERLAP))
        return outputs_of(found, next(iter(volumes.values())), self.metadata)
