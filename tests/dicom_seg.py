"""Read a DICOM Segmentation by programs that are not ours."""

import subprocess
from pathlib import Path

import numpy as np
import pydicom

from tests.needs import need

WARNED_OF_MISSING = "Warning - Missing attribute or value that would be needed to build DICOMDIR"


def marks(made: pydicom.Dataset) -> list[tuple[int, np.ndarray, str]]:
    """Find each marked voxel with pydicom alone: its segment, where in the patient (mm, LPS), and in which image."""
    shared = made.SharedFunctionalGroupsSequence[0]
    axes = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    between_rows, between_columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    pixels = made.pixel_array.reshape(-1, made.Rows, made.Columns)
    found = []
    for frame, own in zip(pixels, made.PerFrameFunctionalGroupsSequence, strict=True):
        segment = (own if "SegmentIdentificationSequence" in own else shared).SegmentIdentificationSequence[0]
        (source,) = own.DerivationImageSequence[0].SourceImageSequence
        first = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(frame):
            place = first + axes[0] * column * between_columns + axes[1] * row * between_rows
            found.append((int(segment.ReferencedSegmentNumber), place, source.ReferencedSOPInstanceUID))
    return sorted(found, key=lambda each: each[0])


def complaints(path: Path) -> list[str]:
    """Let dciodvfy of David Clunie's dicom3tools judge a file; what the images did not say either is no complaint."""
    need("dciodvfy")
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).strip().splitlines()
    assert "Segmentation" in lines, "it knows what the file is"
    return [line for line in lines if line != "Segmentation" and not line.startswith(WARNED_OF_MISSING)]
