"""Write a volume through SimpleITK."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import SimpleITK as sitk
from isal import igzip

from tomaat.volumes.images import as_image
from tomaat.volumes.Volume import Volume

LEVEL = 2  #: isal's: as small as zlib's level 6 on such data, in a fraction of its time
CHUNK_BYTES = 1024**2
EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_volume(volume: Volume, path: Path) -> None:
    """Write ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``, compressed where the format can; bool becomes uint8.

    Raises ``ValueError`` for another extension, ``TypeError`` for voxels that are no numbers, ``OSError`` where the
    disk is full.
    """
    if not path.name.endswith(EXTENSIONS):
        raise ValueError(f"{path.name}: a volume is written as {', '.join(EXTENSIONS)}")
    image = as_image(volume)
    if path.suffix in {".nrrd", ".mha"}:
        sitk.WriteImage(image, str(path), useCompression=True)
        return
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    sitk.WriteImage(image, str(plain), useCompression=False)
    if (
        plain.stat().st_size < image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
    ):  # on a full disk ITK's NIfTI writer writes less and says nothing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), plain.name)
    if plain == path:
        return
    with plain.open("rb") as source, igzip.open(path, "wb", compresslevel=LEVEL) as target:
        shutil.copyfileobj(source, target, CHUNK_BYTES)
    plain.unlink()
