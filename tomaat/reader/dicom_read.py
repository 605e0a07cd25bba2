"""Read the images of a DICOM series, in the limited fork of the read server: headers by pydicom, pixels by GDCM.

An image that GDCM would read as something else than was stored is at fault: MONOCHROME1 (it inverts the
values), fewer pixels than rows and columns need (it fills up), an unusual high bit (it ignores it).
"""

from __future__ import annotations

import codecs
import math
import mmap
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.charset import python_encoding
from pydicom.filereader import read_partial
from pydicom.uid import UID, AllTransferSyntaxes

from tomaat.headers.checks import check_pixels
from tomaat.headers.dicom_files import file_names
from tomaat.headers.volume_header import BYTES_OF
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.dicom_told import ATTRIBUTES, LONGEST_TEXT
from tomaat.reader.series import COUNTED
from tomaat.refusals import shown

SHOWN_FILE = "volume.dcm"  #: the name under which GDCM finds the image that is being read
PIXELS = 0x7FE00010
UNDEFINED_LENGTH = 0xFFFFFFFF
MOST_NAMED = 4  #: broken files that a refusal lists
READ_TAGS = (  # beside those that are handed on
    *(0x00080008, 0x00280002, 0x00280004, 0x00280008, 0x00280100, 0x00280101, 0x00280102, 0x00280103),
    *(0x00281052, 0x00281053, 0x00283000),
)
TRANSFER_SYNTAXES = {
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
    *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
    "1.2.840.10008.1.2.5",
}  #: uncompressed, deflated, JPEG, JPEG-LS, JPEG 2000, RLE
IMAGES = "Image Storage"  #: in the names of the standard's classes of images
COMPRESSED = "1.2.840.10008.1.2.4."
RLE = "1.2.840.10008.1.2.5"
VOXEL_TYPES = {
    sitk.sitkInt8: "int8",
    sitk.sitkUInt8: "uint8",
    sitk.sitkInt16: "int16",
    sitk.sitkUInt16: "uint16",
    sitk.sitkInt32: "int32",
    sitk.sitkUInt32: "uint32",
    sitk.sitkFloat32: "float32",
    sitk.sitkFloat64: "float64",
}


def prepare() -> None:
    """Load, before anything is taken from the process, all that pydicom would load when it meets a stranger's file."""
    warnings.simplefilter("ignore")  # they quote the file
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    for name in {*python_encoding.values(), "latin-1"}:
        codecs.lookup(name)
    image = pydicom.Dataset()
    for tag, vr in ATTRIBUTES.items():
        if not tag.startswith("0002"):
            image.add_new(int(tag, 16), vr, "")
    _attributes(image)


def tell(folder: int, shown_as: int, names: Path) -> list[dict[str, Any]]:
    """Read each file's header in a folder, for ``dicom_told``; what is no image, as a report, is told as that.

    Raises ``VolumeRefused`` where any file is cut or broken: left out, a slice would be missing, and nobody be told.
    """
    told, broken = [], []
    for number, file in _files(folder, shown_as, names):
        try:
            told.append(_facts(number, file))
        except Exception:  # noqa: BLE001 (pydicom raises whatever a broken file makes it, for lack of memory too)
            broken.append(str(number + 1))
    if broken:
        listed = ", ".join(broken[:MOST_NAMED]) + (", …" if len(broken) > MOST_NAMED else "")
        rule = f"{len(broken)} of {len(file_names(folder))} DICOM files cannot be read: number {listed} {COUNTED}"
        raise VolumeRefused("unreadable", f"{rule}; cut, broken, or an image without pixels.")
    return told


def fill(folder: int, shown_as: int, names: Path, asked: dict[str, Any], memory: int) -> None:
    """Write the pixels of the images ``asked["order"]`` one behind the other into the asker's memory."""
    columns, rows, dtype = asked["columns"], asked["rows"], np.dtype(asked["dtype"])
    order = {number: place for place, number in enumerate(asked["order"])}
    target = mmap.mmap(memory, len(order) * rows * columns * BYTES_OF[asked["dtype"]])
    voxels: np.ndarray[Any, Any] = np.ndarray((len(order), rows, columns), dtype, target)
    for number, file in _files(folder, shown_as, names, order):
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        try:
            image = reader.Execute()
        except RuntimeError:
            rule = f"The pixels of image {order[number] + 1} of {len(order)} cannot be decoded; they are broken."
            raise VolumeRefused("unreadable", rule) from None
        pixels = sitk.GetArrayViewFromImage(image)
        if pixels.shape != (1, rows, columns) or image.GetNumberOfComponentsPerPixel() != 1:
            raise VolumeRefused("dimensions", "An image that was read is not the one that its header describes.")
        if pixels.dtype != dtype and not asked["mixed"]:
            raise VolumeRefused("voxel-type", f"Pixels were read as {pixels.dtype}; the header says {dtype}.")
        np.copyto(voxels[order[number]], pixels[0], casting="same_kind")


def _files(folder: int, shown_as: int, names: Path, wanted: Any = None) -> Iterator[tuple[int, Path]]:
    """Open one file after the other where GDCM finds it, and yield its number too."""
    for number, name in enumerate(file_names(folder)):
        if wanted is not None and number not in wanted:
            continue
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        os.dup2(descriptor, shown_as)
        os.close(descriptor)
        yield number, names / SHOWN_FILE


def _facts(number: int, file: Path) -> dict[str, Any]:
    """Read the header of one file. Raises anything where it is broken."""
    last = last_bytes = end = 0

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        nonlocal last, last_bytes, end
        last, last_bytes, end = tag, length, opened.tell() + length
        return tag == PIXELS

    tags: list[Any] = [*(int(tag, 16) for tag in ATTRIBUTES), *READ_TAGS]
    with file.open("rb") as opened:
        image = read_partial(opened, stop_when=at_pixels, specific_tags=tags)
        whole = last_bytes == UNDEFINED_LENGTH or end == os.fstat(opened.fileno()).st_size
    if last == PIXELS:
        return _told(number, file, image, last_bytes)
    return _beside(number, image, whole=whole)


def _beside(number: int, image: pydicom.FileDataset, *, whole: bool) -> dict[str, Any]:
    """Tell of a file without pixels that was never an image: a report, a plan, the index of a medium (DICOMDIR).

    Of a class that the standard does not have, this is believed of a file that is all there, where its series is not
    that of the images. Raises ``ValueError`` for any other file.
    """
    classes = [_text(image.file_meta, "MediaStorageSOPClassUID"), _text(image, "SOPClassUID")]
    names = [UID(each).name for each in classes if each]
    known = all(name not in classes for name in names)
    series = _text(image, "SeriesInstanceUID")
    if not names or "Rows" in image or any(IMAGES in name for name in names) or not (known or (whole and series)):
        raise ValueError("an image without pixels")
    return {"number": number, "kind": names[0], "beside": series, "known": known}


def _told(number: int, file: Path, image: pydicom.FileDataset, pixel_bytes: int) -> dict[str, Any]:
    rows, columns = (_whole(image, name) for name in ("Rows", "Columns"))
    spacing = _numbers(image, "PixelSpacing", 2)
    facts = {
        "number": number,
        "series": _text(image, "SeriesInstanceUID"),
        "description": _text(image, "SeriesDescription"),
        "modality": _text(image, "Modality"),
        "columns": columns,
        "rows": rows,
        "frames": _whole(image, "NumberOfFrames", 1),
        "samples": _whole(image, "SamplesPerPixel", 1),
        "dtype": "",
        "position_mm": _numbers(image, "ImagePositionPatient", 3),
        "axes": _numbers(image, "ImageOrientationPatient", 6),
        "spacing_mm": spacing and spacing[::-1],
        "thickness_mm": _numbers(image, "SliceThickness", 1),
        "fault": None,
        "header": _attributes(image),
    }
    try:
        if rows and columns and facts["frames"] == facts["samples"] == 1:
            check_pixels(columns, rows)
            _check(image, pixel_bytes, rows * columns)
            facts["dtype"] = _voxel_type(number, file)
    except VolumeRefused as refusal:
        facts["fault"] = [refusal.code, refusal.detail]
    return facts


def _check(image: pydicom.FileDataset, pixel_bytes: int, pixels: int) -> None:
    """Refuse an image that would be read as something else than was stored."""
    syntax = _text(image.file_meta, "TransferSyntaxUID")
    if syntax not in TRANSFER_SYNTAXES:
        name = UID(syntax).name if syntax in AllTransferSyntaxes else syntax
        raise VolumeRefused(
            "transfer-syntax", f"The transfer syntax {shown(name)} is not taken; decompress the images."
        )
    if "MOSAIC" in [str(word) for word in _values(image, "ImageType")]:
        rule = "The images are mosaics of many slices (Siemens); send the series as one image per slice."
        raise VolumeRefused("mosaic", rule)
    photometric = _text(image, "PhotometricInterpretation")
    if photometric != "MONOCHROME2":
        raise VolumeRefused("photometric", f"The images are {shown(photometric)}; only MONOCHROME2 is taken.")
    allocated, stored, high = (_whole(image, name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in {8, 16, 32} or not 1 <= stored <= allocated or high != stored - 1:
        rule = f"Pixels of {allocated} bits, {stored} of them used up to bit {high}, are not taken."
        raise VolumeRefused("voxel-type", rule)
    if "ModalityLUTSequence" in image:
        raise VolumeRefused("modality-table", "The values are to be looked up in a table (ModalityLUTSequence).")
    for name in ("RescaleSlope", "RescaleIntercept"):
        number = _numbers(image, name, 1)
        if _is_given(image, name) and (number is None or (number == [0] and name == "RescaleSlope")):
            raise VolumeRefused("header", f"{name} is no number that values can be rescaled with.")
    if syntax.startswith(COMPRESSED) or syntax == RLE:
        return
    if pixel_bytes == UNDEFINED_LENGTH or pixel_bytes < pixels * allocated // 8:
        rule = f"An image needs {pixels * allocated // 8} bytes of pixels; {pixel_bytes} are there."
        raise VolumeRefused("size", rule)


def _voxel_type(number: int, file: Path) -> str:
    """Ask GDCM for the type that it will make of the pixels, rescaled."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        rule = f"DICOM file number {number + 1} {COUNTED} cannot be read by GDCM; it may be cut or broken."
        raise VolumeRefused("unreadable", rule) from None
    name = VOXEL_TYPES.get(reader.GetPixelID())
    if name is None:
        raise VolumeRefused("voxel-type", f"Pixels of the type {reader.GetPixelID()} of SimpleITK are not taken.")
    return name


def _attributes(image: pydicom.Dataset) -> dict[str, Any]:
    """Gather the attributes that are handed on, in the DICOM JSON Model, without those that cannot be read."""
    meta = getattr(image, "file_meta", {})
    gathered = {}
    for tag, vr in ATTRIBUTES.items():
        values = _values(meta if tag.startswith("0002") else image, int(tag, 16))
        try:
            made = [_json_value(value, vr) for value in values]
        except (TypeError, ValueError, OverflowError, UnicodeError):
            continue
        if made:
            gathered[tag] = {"vr": vr, "Value": made}
    for tag, other in (("00080016", 0x00020002), ("00080018", 0x00020003)):  # left out by some who anonymise
        if tag not in gathered and (values := _values(meta, other)):
            gathered[tag] = {"vr": "UI", "Value": [str(values[0])[:LONGEST_TEXT]]}
    return gathered


def _json_value(value: Any, vr: str) -> Any:
    if vr == "PN":
        parts = {
            name: str(getattr(value, name.lower()))[:LONGEST_TEXT] for name in ("Alphabetic", "Ideographic", "Phonetic")
        }
        return {name: text for name, text in parts.items() if text}
    if vr in {"US", "IS"}:
        return int(value)
    if vr == "DS" and not math.isfinite(value):
        raise ValueError(value)
    return float(value) if vr == "DS" else str(value)[:LONGEST_TEXT]


def _values(image: Any, key: Any) -> list[Any]:
    """Give an attribute's values; none where it is absent, empty, or no value of its kind."""
    if key not in image:
        return []
    try:
        value = image[key].value
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 (pydicom raises whatever a broken value makes it)
        return []
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]


def _is_given(image: pydicom.Dataset, keyword: str) -> bool:
    """Tell whether an attribute has any value."""
    item = image.get_item(keyword)
    return item is not None and item.value not in (None, b"", "")


def _text(image: Any, keyword: str) -> str:
    return "\\".join(str(value) for value in _values(image, keyword))[:LONGEST_TEXT]


def _numbers(image: Any, keyword: str, count: int) -> list[float] | None:
    try:
        numbers = [float(value) for value in _values(image, keyword)]
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _whole(image: Any, keyword: str, absent: int = 0) -> int:
    numbers: Sequence[float] | None = _numbers(image, keyword, 1)
    return absent if numbers is None else int(numbers[0])
