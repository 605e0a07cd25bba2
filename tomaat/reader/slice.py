"""One image of a DICOM series, or one frame of an image of many, as its header has it; and what is no image."""

from __future__ import annotations

from dataclasses import dataclass

COUNTED = "(by name, or as a zip archive has them)"  #: how files are counted: a name may be a patient's
Value = float | str | None
TIME_OF_DAY = "acquisition time"  #: of labels, the one that is written 120001.25, and in order as a text
#: What tells several volumes of one series apart, in the order in which it is asked, and its unit.
LABELS = {
    "image type": "",
    "stack": "",
    "echo time": " ms",
    "echo": "",
    "inversion time": " ms",
    "flip angle": " degrees",
    "b-value": " s/mm2",
    "gradient": "",
    "temporal position": "",
    "time offset": " s",
    "trigger time": " ms",
    "kernel": "",
    "kVp": "",
    "acquisition": "",
    TIME_OF_DAY: "",
    "dimensions": "",
}


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The header of one image, or frame; lengths in mm, positions in LPS as DICOM has them."""

    number: int  #: of the file among those that were sent
    frame: int = 0  #: of its file, which may have many
    of_many: bool = False  #: its file has frames that say where each lies
    instance: int | None = None  #: InstanceNumber
    uid: str = ""  #: SOPInstanceUID
    kind: str = ""  #: the name of its SOP class
    image_type: str = ""  #: ImageType
    series: str  #: SeriesInstanceUID
    description: str  #: SeriesDescription
    modality: str
    columns: int
    rows: int
    frames: int  #: that do not say where each lies
    samples: int  #: per pixel: 3 for colour
    dtype: str  #: numpy's name of the voxels' type after the rescaling that the header asks for
    position_mm: tuple[float, float, float] | None  #: ImagePositionPatient: centre of the first pixel
    axes: tuple[float, ...] | None  #: ImageOrientationPatient: along the columns' index, then along the rows'
    spacing_mm: tuple[float, float] | None  #: between columns, between rows
    thickness_mm: float | None  #: SliceThickness, for a volume of one slice
    labels: tuple[tuple[str, Value], ...] = ()  #: of ``LABELS``, what the header says
    digest: str = ""  #: of the pixels, where another image has the same SOPInstanceUID
    fault: tuple[str, str] | None = None  #: code and sentence: why this image is no part of a volume

    @property
    def name(self) -> str:
        """What people find the image by, and nobody a patient.

        >>> slice_of = dict(series="", description="", modality="", columns=1, rows=1, frames=1, samples=1, dtype="")
        >>> place = dict(position_mm=None, axes=None, spacing_mm=None, thickness_mm=None)
        >>> Slice(number=0, instance=7, **slice_of, **place).name
        'Image 7'
        >>> Slice(number=0, instance=7, frame=2, of_many=True, **slice_of, **place).name
        'Frame 3 of image 7'
        >>> Slice(number=0, **slice_of, **place).name
        'DICOM file number 1 (by name, or as a zip archive has them)'
        """
        file = f"DICOM file number {self.number + 1} {COUNTED}" if self.instance is None else f"Image {self.instance}"
        return f"Frame {self.frame + 1} of {file.replace('Image', 'image')}" if self.of_many else file

    @property
    def within(self) -> str:
        """The same name within a sentence."""
        return self.name.replace("Image", "image").replace("Frame", "frame")


@dataclass(frozen=True, kw_only=True)
class NoImage:
    """A DICOM file among the images that is none."""

    number: int  #: of the file among those that were sent
    series: str  #: SeriesInstanceUID
    kind: str  #: the name of its SOP class
    known: bool  #: the standard has that class, and it is none of images
