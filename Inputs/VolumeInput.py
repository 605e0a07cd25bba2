"""An input for an image: a CT or MRI volume, or a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Inputs.Input import Input
from tomaat.refusals import shown
from tomaat.volumes.headers import LARGEST_VOXEL_BYTES, read_header
from tomaat.volumes.VolumeHeader import VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused


class VolumeInput(Input):
    """A volume, sent as ``file-<id>.nii.gz`` (or ``.nii``, ``.nrrd``, ``.mha``); ``perform`` gets a ``Volume``.

    Before anything reads its voxels the file's header is checked, and what it claims is held against
    ``largest_voxel_bytes``, where the task declares that.
    """

    type = "volume"
    store = "file"
    extensions = (".nii.gz", ".nii", ".nrrd", ".mha")  #: that a file may have
    only_described = Input.only_described | {"default", "extensions"}

    def __init__(
        self,
        id: str,
        name: str,
        *,
        largest_voxel_bytes: int | None = None,
        description: str = "",
        required: bool = True,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        if largest_voxel_bytes is not None:
            if isinstance(largest_voxel_bytes, bool) or not isinstance(largest_voxel_bytes, int):
                raise TypeError(f"{self!r}: largest_voxel_bytes={shown(largest_voxel_bytes)}; write a number of bytes.")
            if not 1 <= largest_voxel_bytes <= LARGEST_VOXEL_BYTES:
                raise ValueError(
                    f"{self!r}: largest_voxel_bytes={shown(largest_voxel_bytes)} is outside 1 to {LARGEST_VOXEL_BYTES}."
                )
        self.largest_voxel_bytes = largest_voxel_bytes

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON."""
        return super().describe() | {
            "extensions": list(self.extensions),
            "largest_voxel_bytes": self.largest_voxel_bytes,
        }

    def check(self, value: object) -> Any:
        """Refuse whatever stands in ``main.json`` for a volume."""
        rule = f"{self.shown(value)} in main.json is no volume; send it as the file file-{self.id}{self.extensions[0]}."
        raise self.refuse("wrong-place", rule)

    def check_file(self, path: Path) -> VolumeHeader:
        """Check a file's header, its size against what the header claims; raises ``InputRefused``."""
        limit = LARGEST_VOXEL_BYTES if self.largest_voxel_bytes is None else self.largest_voxel_bytes
        try:
            return read_header(path, largest_voxel_bytes=limit)
        except VolumeRefused as refusal:
            raise self.refuse(refusal.code, refusal.detail) from refusal
