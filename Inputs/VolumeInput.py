"""A CT or MRI volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Inputs.Input import Input, InputRefused
from tomaat.volumes.headers import EXTENSIONS, LARGEST_VOXEL_BYTES, read_header
from tomaat.volumes.VolumeHeader import VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused


class VolumeInput(Input):
    """One volume, sent as the file ``file-<id>`` with one of the extensions; ``perform`` gets a ``Volume``."""

    type = "volume"
    store = "file"
    extensions = EXTENSIONS

    def __init__(
        self,
        id: str,
        name: str,
        *,
        description: str = "",
        required: bool = True,
        largest_voxel_bytes: int = LARGEST_VOXEL_BYTES,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        self.largest_voxel_bytes = largest_voxel_bytes

    def check_file(self, path: Path) -> VolumeHeader:
        """Check a file's header, and its exact size where it is not compressed. Raises ``InputRefused``."""
        try:
            return read_header(path, largest_voxel_bytes=self.largest_voxel_bytes)
        except VolumeRefused as refusal:
            raise InputRefused(refusal.code, f"{self.id}: {refusal.detail}") from refusal

    def rules(self) -> dict[str, Any]:
        """Tell the extensions and the largest volume."""
        return {"extensions": list(self.extensions), "largest_voxel_bytes": self.largest_voxel_bytes}
