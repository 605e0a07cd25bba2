"""Check a volume's header by the format that its name says. Standard library only; constant memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from tomaat.headers.mha import read_mha_header
from tomaat.headers.nifti import read_nifti_header
from tomaat.headers.nrrd import read_nrrd_header
from tomaat.headers.volume_header import VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused

READERS: dict[str, Callable[[Path, float], VolumeHeader]] = {
    ".nii.gz": read_nifti_header,
    ".nii": read_nifti_header,
    ".nrrd": read_nrrd_header,
    ".mha": read_mha_header,
}
EXTENSIONS = tuple(READERS)


def read_header(path: Path, *, largest_voxel_bytes: float = math.inf) -> VolumeHeader:
    """Check all that a header says, and the exact size of a file that is not compressed.

    Raises ``VolumeRefused`` with a sentence that names the field, the value and the rule, never the file.
    """
    for extension, reader in READERS.items():
        if path.name.endswith(extension):
            return reader(path, largest_voxel_bytes)
    raise VolumeRefused("extension", f"A volume's file must end in {', '.join(EXTENSIONS)}.")
