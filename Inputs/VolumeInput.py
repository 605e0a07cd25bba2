"""An input for an image: a CT or MRI volume, or a mask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from Inputs.Input import Input
from tomaat.refusals import shown
from tomaat.volumes.dicom_files import check_series_folder
from tomaat.volumes.headers import LARGEST_VOXEL_BYTES, read_header
from tomaat.volumes.VolumeHeader import VolumeHeader
from tomaat.volumes.VolumeRefused import VolumeRefused

UID = re.compile(r"[0-9.]{1,64}", re.ASCII)


class VolumeInput(Input):
    """A volume, sent as ``file-<id>.nii.gz`` (or ``.nii``, ``.nrrd``, ``.mha``); ``perform`` gets a ``Volume``.

    A DICOM series is sent as ``file-<id>.zip``, or as a folder ``file-<id>`` of its images; where they are of several
    series, ``{"series": "<UID>"}`` in ``main.json`` chooses one.

    Before anything reads its voxels the file's header is checked, and what it claims is held against
    ``largest_voxel_bytes``, where the task declares that. The headers of a DICOM series are first read beside the
    worker, and held against the same limits then.
    """

    type = "volume"
    store = "file"
    extensions = (".nii.gz", ".nii", ".nrrd", ".mha", ".zip")  #: that a file may have
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
        """Check the UID of a DICOM series, the one thing that ``main.json`` may say of a volume."""
        if isinstance(value, dict) and value.keys() == {"series"}:
            uid = value["series"]
            if not isinstance(uid, str) or not UID.fullmatch(uid):
                raise self.refuse("not-a-uid", f"series: {self.shown(uid)} is no UID of a DICOM series.")
            return uid
        rule = f"{self.shown(value)} in main.json is no volume; send it as the file file-{self.id}{self.extensions[0]}."
        raise self.refuse("wrong-place", rule)

    def check_file(self, path: Path) -> VolumeHeader | None:
        """Check a file's header, and its size against what the header claims; raises ``InputRefused``.

        Of a folder of DICOM images only that its files are DICOM: there is no header then.
        """
        try:
            if path.is_dir():
                check_series_folder(path)
                return None
            header = read_header(path)
            self.demand(header)
        except VolumeRefused as refusal:
            raise self.refuse(refusal.code, refusal.detail) from refusal
        return header

    def demand(self, header: VolumeHeader) -> None:
        """Hold what a header says against the declared limits; raises ``VolumeRefused``."""
        if self.largest_voxel_bytes is not None and header.voxel_bytes > self.largest_voxel_bytes:
            rule = f"The volume has {header.voxel_bytes} bytes of voxels; at most {self.largest_voxel_bytes} are taken."
            raise VolumeRefused("too-large", rule)
