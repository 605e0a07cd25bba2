"""Write a volume: the header that SimpleITK gives, and the voxels straight from memory through the compressor."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from isal import isal_zlib

from tomaat.refusals import WrongValue
from tomaat.volumes.codes import Code
from tomaat.volumes.images import as_image, as_voxels
from tomaat.volumes.labels import Labels
from tomaat.volumes.volume import Volume

LEVEL = 2  #: isal's: as small as zlib's level 6 on such data, in a fraction of its time
GZIP_WINDOW = 31  #: zlib's word for "gzip, with its trailer"
SLAB_BYTES = 16 * 1024**2  #: written at once; large, since each piece waits for the interpreter
CACHE_LINE_BYTES = 64  #: read at once from memory
NIFTI_SIZES_AT = 42  #: ``dim[1]`` to ``dim[3]`` in the header, int16
NIFTI_HEAD_BYTES = 352
LARGEST_NIFTI_SIZE = 32_767
WRITTEN_EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha")


def write_volume(volume: Volume, path: Path, fields: Mapping[str, str] | None = None) -> None:
    """Write ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha``, compressed where the format can; bool becomes uint8.

    An NRRD file gets further ``fields``, as ``slicer_fields`` makes them.

    Raises ``WrongValue`` for another extension and for more voxels along an axis than NIfTI can tell, ``WrongType`` for
    voxels that are no numbers, ``OSError`` where the disk is full.
    """
    if not path.name.endswith(WRITTEN_EXTENSIONS):
        raise WrongValue(f"{{}}: a volume is written as {', '.join(WRITTEN_EXTENSIONS)}", path.name)
    if path.suffix == ".mha":
        sitk.WriteImage(as_image(volume), str(path), useCompression=True)
        return
    voxels = as_voxels(volume.array)
    nifti = path.suffix != ".nrrd"
    if nifti and max(voxels.shape) > LARGEST_NIFTI_SIZE:
        raise WrongValue(f"NIfTI has at most {LARGEST_NIFTI_SIZE} voxels along an axis, not {max(voxels.shape)}")
    head = _nifti_head(volume, path) if nifti else _nrrd_head(volume, path, fields or {})
    with path.open("wb") as file:
        if path.suffix == ".nii":
            file.write(head)
            file.writelines(_slabs(voxels))
            return
        packing = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, GZIP_WINDOW)
        file.write(packing.compress(head) if nifti else head)
        for slab in _slabs(voxels):
            file.write(packing.compress(slab))
        file.write(packing.flush())


def _slabs(voxels: np.ndarray[Any, Any]) -> Iterator[memoryview]:
    """Give the voxels as they lie in a file, i the fastest, slab by slab along k; what lies so is not copied."""
    planes = voxels.transpose(2, 1, 0)
    step = max(1, SLAB_BYTES // max(1, planes[0].nbytes), CACHE_LINE_BYTES // planes.itemsize)
    for first in range(0, len(planes), step):
        slab = planes[first : first + step]
        if not slab.flags.c_contiguous:
            slab = np.empty_like(slab, order="C")
            for row in range(planes.shape[1]):  # one after the other, so that the rows stay in the cache
                slab[:, row] = planes[first : first + step, row]
        yield slab.reshape(-1).view(np.uint8).data


def _nifti_head(volume: Volume, path: Path) -> bytes:
    head = _head(volume, path, ".nii")[:NIFTI_HEAD_BYTES]
    if len(head) < NIFTI_HEAD_BYTES:  # on a full disk ITK's NIfTI writer writes less and says nothing
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path.name)
    sizes = np.asarray(volume.array.shape, np.int16).tobytes()
    return head[:NIFTI_SIZES_AT] + sizes + head[NIFTI_SIZES_AT + len(sizes) :]


def _nrrd_head(volume: Volume, path: Path, fields: Mapping[str, str]) -> bytes:
    head, end, _ = _head(volume, path, ".nrrd", fields).partition(b"\n\n")
    if not end:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path.name)
    sizes = " ".join(str(count) for count in volume.array.shape)
    return head.replace(b"\nsizes: 1 1 1\n", f"\nsizes: {sizes}\n".encode()) + end


def _head(volume: Volume, path: Path, extension: str, fields: Mapping[str, str] | None = None) -> bytes:
    """Let SimpleITK write one voxel in the volume's place; read the file."""
    image = as_image(replace(volume, array=np.zeros((1, 1, 1), volume.array.dtype)))
    for name, value in (fields or {}).items():
        image.SetMetaData(name, value)
    draft = path.with_name(f"{path.name}.head{extension}")
    sitk.WriteImage(image, str(draft), useCompression=True)
    try:
        return draft.read_bytes()
    finally:
        draft.unlink()


def _terminology(code: Code) -> str:
    """Write a code as 3D Slicer's tag has it: a list of terms, category and type; the anatomic region is left open."""
    kind, what = (f"{each.scheme}^{each.value}^{each.meaning}" for each in (code.kind, code))
    terms = f"Segmentation category and type - DICOM master list~{kind}~{what}~^^"
    return f"TerminologyEntry:{terms}~Anatomic codes - DICOM master list~^^~^^|"


def slicer_fields(labels: Labels) -> dict[str, str]:
    """Make the NRRD fields by which 3D Slicer opens labels as a segmentation, with names and colours.

    Source: Slicer's developer guide, "Segmentation labelmap file format". Extents are inclusive, and the whole volume's
    for each segment, since Slicer cuts a layer to the extent of its first one.
    """
    fields = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    whole = " ".join(f"0 {count - 1}" for count in labels.volume.array.shape)
    for number, (value, name) in enumerate(sorted(labels.names.items())):
        red, green, blue = (f"{part / 255:.6g}" for part in labels.color(value))
        fields |= {
            f"Segment{number}_ID": f"Segment_{value}",
            f"Segment{number}_Name": name,
            f"Segment{number}_NameAutoGenerated": "0",
            f"Segment{number}_Color": f"{red} {green} {blue}",
            f"Segment{number}_ColorAutoGenerated": "0",
            f"Segment{number}_LabelValue": str(value),
            f"Segment{number}_Layer": "0",
            f"Segment{number}_Extent": whole,
        }
        if value in labels.codes:
            fields[f"Segment{number}_Tags"] = _terminology(labels.codes[value])
    return fields
