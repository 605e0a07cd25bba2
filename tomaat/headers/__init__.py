"""Headers of NIfTI, NRRD and MHA, and the names of DICOM files. Standard library only."""

from tomaat.headers.read_header import read_header
from tomaat.headers.volume_header import VolumeHeader
from tomaat.headers.volume_refused import VolumeRefused

__all__ = ["VolumeHeader", "VolumeRefused", "read_header"]
