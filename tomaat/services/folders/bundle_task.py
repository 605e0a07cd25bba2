"""The task of a MONAI bundle's folder."""

from __future__ import annotations

from typing import Any, ClassVar

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

    def load_network(self, device: Any) -> None:
        """Make the bundle's parts and load its weights. Raises ``FolderRefused``."""
        kept = KeptModules(self.place)  # before anything else is done, since the folder was trusted just now

        from tomaat.services.folders.bundle_run import Bundle  # noqa: PLC0415 (MONAI takes seconds)

        self.bundle = Bundle(kept, device, list(self.metadata.channels))

    def perform(self, **inputs: Any) -> Outputs:
        """Run the bundle on the volumes, one for each channel, all on one grid."""
        volumes = on_one_grid({id: inputs[id] for id in self.metadata.channels})
        found = self.bundle.predict(list(volumes.values()), self.progress, inputs.get(OVERLAP))
        return outputs_of(found, next(iter(volumes.values())), self.metadata)
