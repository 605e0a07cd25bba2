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

NIFTI = (".nii.gz", ".nii")
READERS: dict[str, Callable[[Path, float], VolumeHeader]] = {
    ".nrrd": read_nrrd_header,
    ".mha": read_mha_header,
}
EXTENSIONS = (*NIFTI, *READERS)


def read_header(path: Path, *, largest_voxel_bytes: float = math.inf, form: str | None = None) -> VolumeHeader:
    """Check all that a header says, and the size of a file that is not compressed.

    ``form`` is ``sform`` or ``qform``, where the client says which of the two places a NIfTI.

    Raises ``VolumeRefused`` with a sentence that names the field, the value and the rule, never the file.
    """
    name = path.name.lower()
    if name.endswith(NIFTI):
        return read_nifti_header(path, largest_voxel_bytes, form)
    if form is not None:
        raise VolumeRefused("form", f"form: {form} was chosen, but only NIfTI ({', '.join(NIFTI)}) has one.")
    for extension, reader in READERS.items():
        if name.endswith(extension):
            return reader(path, largest_voxel_bytes)
    raise VolumeRefused("extension", f"A volume's file must end in {', '.join(EXTENSIONS)}.")
