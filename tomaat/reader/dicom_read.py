"""Read the images of a DICOM series, in the limited fork of the read server: headers by pydicom, pixels by GDCM.

An image that GDCM would read as something else than was stored is at fault: MONOCHROME1 (it inverts the
values), fewer pixels than rows and columns need (it fills up), an unusual high bit (it ignores it). The frames of an
enhanced image, and an image that says too little of itself for GDCM, are laid before it one by one (``frames``).
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import math
import mmap
import os
import struct
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.charset import python_encoding
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.uid import UID, AllTransferSyntaxes

from tomaat.headers.checks import check_pixels
from tomaat.headers.dicom_files import file_names
from tomaat.headers.volume_header import BYTES_OF
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.attributes import is_given, numbers, text, values, whole
from tomaat.reader.dicom_told import ATTRIBUTES, LONGEST_TEXT
from tomaat.reader.frames import (
    ENHANCED,
    EXPLICIT_LITTLE,
    GROUP_TAGS,
    MOST_FRAMES,
    Stored,
    frames_of,
    has_all_items,
    is_enhanced,
    pixels_of,
    rescale_of,
    storage_of,
    write_single,
)
from tomaat.reader.slice import COUNTED
from tomaat.refusals import shown

SHOWN_FILE = "volume.dcm"  #: the name under which GDCM finds the image that is being read
PIXELS = 0x7FE00010
UNDEFINED_LENGTH = 0xFFFFFFFF
DIGESTED_AT_ONCE = 1024**2  #: bytes
MOST_NAMED = 4  #: broken files that a refusal lists
READ_TAGS = (  # beside those that are handed on
    *(0x00080008, 0x00280002, 0x00280004, 0x00280008, 0x00280100, 0x00280101, 0x00280102, 0x00280103),
    *(0x00180088, 0x00281052, 0x00281053, 0x00283000, *GROUP_TAGS),
    *(0x00080070, 0x00651050),
)
GRID = 0x00651050  #: United Imaging's own number of slices in one image
GRID_MAKERS = ("UIH", "UNITED IMAGING")
#: What tells images from others at the same place: label, attribute.
IMAGE_LABELS = {
    "image type": "ImageType",
    "echo time": "EchoTime",
    "echo": "EchoNumbers",
    "inversion time": "InversionTime",
    "flip angle": "FlipAngle",
    "b-value": "DiffusionBValue",
    "gradient": "DiffusionGradientOrientation",
    "temporal position": "TemporalPositionIdentifier",
    "trigger time": "TriggerTime",
    "kernel": "ConvolutionKernel",
    "kVp": "KVP",
    "acquisition": "AcquisitionNumber",
    "acquisition time": "AcquisitionTime",
}
#: Where vendors write a b-value themselves: their name, where it stands, and the value.
OWN_B_VALUES = (
    ("SIEMENS MR HEADER", 0x00190010, 0x0019100C),
    ("GEMS_PARM_01", 0x00430010, 0x00431039),
    ("Philips Imaging DD 001", 0x20010010, 0x20011003),
)
FLOAT_BYTES = 4
GE_ADDS = 1_000_000_000  #: to some b-values
LABEL_TAGS = (
    *(tag_for_keyword(keyword) for keyword in IMAGE_LABELS.values()),
    *(tag for _, *tags in OWN_B_VALUES for tag in tags),
)
TRANSFER_SYNTAXES = {
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
    *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
    "1.2.840.10008.1.2.5",
}  #: uncompressed, deflated, JPEG, JPEG-LS, JPEG 2000, RLE
DEFLATED = "1.2.840.10008.1.2.1.99"
REARRANGED = {DEFLATED, "1.2.840.10008.1.2.2"}  #: deflated and big endian pixels are not as in memory
IMAGES = "Image Storage"  #: in the names of the standard's classes of images
MAP = "Parametric Map Storage"  #: the name of the class whose pixels are floats
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


@dataclass(frozen=True, kw_only=True)
class ShownFiles:
    """The files of a folder, each in its turn where GDCM finds it."""

    folder: int
    shown_as: int  #: the descriptor behind which GDCM finds a file
    file: Path  #: the name under which it does
    single: int  #: memory for one image that is written again

    def each(self, wanted: Collection[int] | None = None) -> Iterator[int]:
        """Show one file after the other, and yield its number."""
        for number, name in enumerate(file_names(self.folder)):
            if wanted is None or number in wanted:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.folder)
                os.dup2(descriptor, self.shown_as)
                os.close(descriptor)
                yield number

    def show(self, pixels: bytes, stored: Stored) -> None:
        """Show an image that is written again."""
        with mmap.mmap(self.single, 0) as memory:
            write_single(pixels, stored, memory)
        os.dup2(self.single, self.shown_as)


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


def tell(shown: ShownFiles) -> list[dict[str, Any]]:
    """Read each file's header in a folder, for ``dicom_told``; what is no image, as a report, is told as that.

    Raises ``VolumeRefused`` where any file is cut or broken: left out, a slice would be missing, and nobody be told.
    """
    told, broken = [], []
    for number in shown.each():
        try:
            told.append(_facts(number, shown))
        except VolumeRefused:
            raise
        except Exception:  # noqa: BLE001 (pydicom raises whatever a broken file makes it, for lack of memory too)
            broken.append(str(number + 1))
        if sum(len(one.get("each", ())) for one in told) > MOST_FRAMES:
            raise VolumeRefused("too-many-images", f"The images have more than {MOST_FRAMES} frames.")
    if broken:
        listed = ", ".join(broken[:MOST_NAMED]) + (", …" if len(broken) > MOST_NAMED else "")
        rule = f"{len(broken)} of {len(file_names(shown.folder))} DICOM files cannot be read: number {listed} {COUNTED}"
        why = "cut, broken, or an image without pixels. Copy the series again from its source."
        raise VolumeRefused("unreadable", f"{rule}; {why}")
    _digest_of_twins(told, shown)
    return told


def _digest_of_twins(told: list[dict[str, Any]], shown: ShownFiles) -> None:
    """Let those images be compared by their pixels, and by what makes values of these, that have one SOPInstanceUID."""
    count = Counter(one.get("uid") for one in told)
    twins = {one["number"]: one for one in told if one.get("uid") and count[one["uid"]] > 1}
    for number in shown.each(twins):
        with shown.file.open("rb") as opened:
            read = _read(opened)
            syntax = _syntax(read)
            digest = hashlib.sha256(f"{syntax} {storage_of(read.image)}".encode())
            opened.seek(0 if syntax == DEFLATED else read.at)  # nobody knows where deflated pixels lie
            while content := opened.read(DIGESTED_AT_ONCE):
                digest.update(content)
            twins[number]["digest"] = digest.hexdigest()


def fill(shown: ShownFiles, asked: dict[str, Any], memory: int) -> None:
    """Write the pixels of the images ``asked["order"]`` one behind the other into the asker's memory.

    ``asked["frames"]`` are the numbers of the frames in these images' files.
    """
    columns, rows, dtype = asked["columns"], asked["rows"], np.dtype(asked["dtype"])
    count = len(asked["order"])
    wanted: dict[int, dict[int, int]] = defaultdict(dict)
    for place, (number, frame) in enumerate(zip(asked["order"], asked["frames"], strict=True)):
        wanted[number][frame] = place
    target = mmap.mmap(memory, count * rows * columns * BYTES_OF[asked["dtype"]])
    voxels: np.ndarray[Any, Any] = np.ndarray((count, rows, columns), dtype, target)
    for number in shown.each(wanted):
        places = wanted[number]
        missing = set(places)
        for frame in _pictures(places, shown):
            place = places[frame]
            missing.discard(frame)
            try:
                image = _decoded(shown.file)
            except RuntimeError:
                rule = f"The pixels of slice {place + 1} of {count} cannot be decoded; they are broken."
                raise VolumeRefused("unreadable", f"{rule} Send the whole series again.") from None
            pixels = sitk.GetArrayViewFromImage(image)
            if pixels.shape != (1, rows, columns) or image.GetNumberOfComponentsPerPixel() != 1:
                raise VolumeRefused("dimensions", "An image that was read is not the one that its header describes.")
            if pixels.dtype != dtype and not asked["mixed"] and not _fit(pixels, dtype):
                rule = f"Pixels were read as {pixels.dtype}; the header says {dtype}. Decompress the images"
                raise VolumeRefused("voxel-type", f"{rule} (gdcmconv --raw), or send them as .nii.gz.")
            np.copyto(voxels[place], pixels[0], casting="same_kind")
        if missing:
            raise VolumeRefused("size", f"{len(missing)} of {len(places)} frames of an image are not there.")


def _fit(pixels: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bool:
    """Tell whether values have a narrower type too: JPEG 2000 may say 16 bits of pixels of which the header says 12."""
    if pixels.dtype.kind != dtype.kind or dtype.kind not in "iu":
        return False
    limits = np.iinfo(dtype)
    return bool(limits.min <= pixels.min() and pixels.max() <= limits.max)


def _decoded(file: Path) -> sitk.Image:
    """Let GDCM decode a file; raises ``RuntimeError`` where it cannot."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    decoded: sitk.Image = reader.Execute()
    return decoded


def _pictures(wanted: Collection[int], shown: ShownFiles) -> Iterator[int]:
    """Show one wanted frame of the shown file after the other, and yield its number."""
    with shown.file.open("rb") as opened:
        read = _read(opened)
        if not _is_rewritten(read):
            yield from wanted
            return
        rescales = [frame["rescale"] for frame in frames_of(read.image)] if is_enhanced(read.image) else [None]
        for frame, pixels in pixels_of(opened, read.image, _stored(read), read.at, wanted):
            shown.show(pixels, _stored(read, rescales[frame]))
            yield frame


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """The header of one file."""

    image: pydicom.FileDataset
    at: int  #: of the pixels, or of the file's end where there are none
    pixel_bytes: int
    has_pixels: bool
    whole: bool  #: nothing is cut, up to the end of the pixels where there are some; not known of a deflated file


def _read(opened: BinaryIO) -> ReadFile:
    """Read the header of one file. Raises anything where it is broken."""
    last = last_bytes = at = 0

    def at_pixels(tag: int, _vr: str | None, length: int) -> bool:
        nonlocal last, last_bytes, at
        last, last_bytes, at = tag, length, opened.tell()
        return tag == PIXELS

    tags: list[Any] = [*(int(tag, 16) for tag in ATTRIBUTES), *READ_TAGS, *LABEL_TAGS]
    image = read_partial(opened, stop_when=at_pixels, specific_tags=tags, force=True)
    size = os.fstat(opened.fileno()).st_size
    has_pixels = last == PIXELS
    if has_pixels and last_bytes == UNDEFINED_LENGTH:
        is_whole = has_all_items(opened, at, size)
    elif has_pixels:
        is_whole = at + last_bytes <= size
    else:
        is_whole = last_bytes == UNDEFINED_LENGTH or at + last_bytes == size
    return ReadFile(image=image, at=at, pixel_bytes=last_bytes, has_pixels=has_pixels, whole=is_whole)


def _facts(number: int, shown: ShownFiles) -> dict[str, Any]:
    """Tell what the shown file is. Raises anything where it is broken."""
    with shown.file.open("rb") as opened:
        read = _read(opened)
    return _told(number, read, shown) if read.has_pixels else _beside(number, read.image, whole=read.whole)


def _syntax(read: ReadFile) -> str:
    """Tell the transfer syntax; without the file's own words, that in which its header could be read."""
    said = text(read.image.file_meta, "TransferSyntaxUID")
    if said:
        return said
    implicit, little = read.image.original_encoding
    return "1.2.840.10008.1.2.2" if not little else "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"


def _is_rewritten(read: ReadFile) -> bool:
    """Tell whether GDCM would not read an image as it is."""
    kind = text(read.image, "SOPClassUID") or text(read.image.file_meta, "MediaStorageSOPClassUID")
    unknown = bool(kind) and UID(kind).name == kind
    bare = read.image.preamble is None or not is_given(read.image.file_meta, "TransferSyntaxUID")
    return is_enhanced(read.image) or unknown or bare


def _stored(read: ReadFile, rescale: tuple[str, str] | None = None) -> Stored:
    image = read.image
    slope, intercept = rescale or rescale_of(image, image)
    allocated, used, high = (whole(image, name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    return Stored(
        syntax=_syntax(read),
        columns=whole(image, "Columns"),
        rows=whole(image, "Rows"),
        bits=(allocated, used, high),
        signed=whole(image, "PixelRepresentation"),
        slope=slope,
        intercept=intercept,
    )


def _beside(number: int, image: pydicom.FileDataset, *, whole: bool) -> dict[str, Any]:
    """Tell of a file without pixels that was never an image: a report, a plan, the index of a medium (DICOMDIR).

    A map of a parameter has rows, but of floats, in an attribute of another name; it is no slice of a scan.

    Of a class that the standard does not have, this is believed of a file that is all there, where its series is not
    that of the images. Raises ``ValueError`` for any other file.
    """
    classes = [text(image.file_meta, "MediaStorageSOPClassUID"), text(image, "SOPClassUID")]
    names = [UID(each).name for each in classes if each]
    known = all(name not in classes for name in names)
    series = text(image, "SeriesInstanceUID")
    told = {"number": number, "kind": names[0] if names else "", "beside": series, "known": known}
    if set(names) == {MAP}:
        return told
    if not names or "Rows" in image or any(IMAGES in name for name in names) or not (known or (whole and series)):
        raise ValueError("an image without pixels")
    return told


def _told(number: int, read: ReadFile, shown: ShownFiles) -> dict[str, Any]:
    image = read.image
    rows, columns = (whole(image, name) for name in ("Rows", "Columns"))
    spacing = numbers(image, "PixelSpacing", 2)
    kind = text(image, "SOPClassUID") or text(image.file_meta, "MediaStorageSOPClassUID")
    facts: dict[str, Any] = {
        "number": number,
        "instance": whole(image, "InstanceNumber") if numbers(image, "InstanceNumber", 1) else None,
        "uid": text(image, "SOPInstanceUID") or text(image.file_meta, "MediaStorageSOPInstanceUID"),
        "kind": UID(kind).name,
        "image_type": text(image, "ImageType"),
        "series": text(image, "SeriesInstanceUID"),
        "description": text(image, "SeriesDescription"),
        "modality": text(image, "Modality"),
        "columns": columns,
        "rows": rows,
        "frames": whole(image, "NumberOfFrames", 1),
        "samples": whole(image, "SamplesPerPixel", 1),
        "dtype": "",
        "position_mm": numbers(image, "ImagePositionPatient", 3),
        "axes": numbers(image, "ImageOrientationPatient", 6),
        "spacing_mm": spacing and spacing[::-1],
        "thickness_mm": numbers(image, "SliceThickness", 1) or numbers(image, "SpacingBetweenSlices", 1),
        "labels": _labels(image),
        "fault": None,
        "header": _attributes(image),
    }
    enhanced = is_enhanced(image) and facts["kind"].endswith(ENHANCED)
    frames = facts["frames"] if enhanced else 1
    try:
        if rows and columns and facts["samples"] == 1 and (enhanced or facts["frames"] == 1):
            check_pixels(columns, rows)
            _check(read, rows * columns * max(frames, 1))
            if enhanced:
                facts["each"] = _each(read, shown)
            elif _is_rewritten(read):
                facts["dtype"] = _type_of_single(read, None, shown)
            else:
                facts["dtype"] = _voxel_type(shown.file)
    except VolumeRefused as refusal:
        facts["fault"] = [refusal.code, refusal.detail]
    return facts


def _labels(image: pydicom.FileDataset) -> list[list[Any]]:
    labels = {label: text(image, keyword) for label, keyword in IMAGE_LABELS.items()}
    for creator, named, tag in OWN_B_VALUES:
        own = values(image, tag)
        if own and not labels["b-value"] and _plain(values(image, named)) == creator:
            with contextlib.suppress(ValueError):  # an anonymiser may have written a word there
                labels["b-value"] = str(float(_plain(own).split("\\")[0]) % GE_ADDS)
    return [[label, value] for label, value in labels.items() if value]


def _plain(own: list[Any]) -> str:
    """Give the first value of a vendor's own attribute, of which pydicom may not know the kind."""
    value = own[0] if own else ""
    if isinstance(value, bytes):
        value = struct.unpack("<f", value)[0] if len(value) == FLOAT_BYTES and not value.strip().isdigit() else value
    return value.decode("ascii", "replace").strip(" \0") if isinstance(value, bytes) else str(value).strip()


def _each(read: ReadFile, shown: ShownFiles) -> list[dict[str, Any]]:
    """Tell what each frame of an enhanced image says, and the type that its rescaling makes of its pixels."""
    if whole(read.image, "NumberOfFrames", 1) > MOST_FRAMES:
        raise VolumeRefused("too-many-images", f"it has more than {MOST_FRAMES} frames.")
    types: dict[tuple[str, str], str] = {}
    frames = []
    for frame in frames_of(read.image):
        rescale = frame.pop("rescale")
        if rescale not in types:
            types[rescale] = _type_of_single(read, rescale, shown)
        frames.append({**frame, "dtype": types[rescale]})
    return frames


def _type_of_single(read: ReadFile, rescale: tuple[str, str] | None, shown: ShownFiles) -> str:
    """Ask GDCM for the type that it makes of pixels that are stored so, by one of them."""
    stored = replace(_stored(read, rescale), syntax=EXPLICIT_LITTLE, columns=1, rows=1)
    shown.show(bytes(stored.bits[0] // 8), stored)
    return _voxel_type(shown.file)


def _check(read: ReadFile, pixels: int) -> None:
    """Refuse an image that would be read as something else than was stored."""
    image, syntax, pixel_bytes = read.image, _syntax(read), read.pixel_bytes
    if syntax not in TRANSFER_SYNTAXES or (syntax in REARRANGED and _is_rewritten(read)):
        name = UID(syntax).name if syntax in AllTransferSyntaxes else syntax
        rule = f"the transfer syntax {shown(name)} is not taken; decompress the images (gdcmconv --raw)."
        raise VolumeRefused("transfer-syntax", rule)
    if maker := _maker_of_mosaic(image):
        rule = f"it is a mosaic of many slices ({maker}); send one image per slice, or what dcm2niix makes of it."
        raise VolumeRefused("mosaic", rule)
    photometric = text(image, "PhotometricInterpretation")
    if photometric != "MONOCHROME2":
        rule = (
            f"PhotometricInterpretation is {shown(photometric)}"
            if photometric
            else "PhotometricInterpretation is absent"
        )
        raise VolumeRefused("photometric", f"{rule}; only MONOCHROME2 is taken. Export the images as that.")
    allocated, stored, high = (whole(image, name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in {8, 16, 32} or not 1 <= stored <= allocated or high != stored - 1:
        rule = f"pixels of {allocated} bits, {stored} of them used up to bit {high}, are not taken; export them again."
        raise VolumeRefused("voxel-type", rule)
    if "ModalityLUTSequence" in image:
        raise VolumeRefused(
            "modality-table",
            "its values are to be looked up in a table (ModalityLUTSequence), which is not taken; send it as .nii.gz.",
        )
    rescale_of(image, image)
    if syntax.startswith(COMPRESSED) or syntax == RLE:
        if _is_rewritten(read) and not (pixel_bytes == UNDEFINED_LENGTH and read.whole):
            raise VolumeRefused("size", "its compressed pixels are not all there. Send the whole series again.")
        return
    if syntax != DEFLATED and not read.whole:
        raise VolumeRefused(
            "size", f"it ends before its {pixel_bytes} bytes of pixels do. Send the whole series again."
        )
    if pixel_bytes == UNDEFINED_LENGTH or pixel_bytes < pixels * allocated // 8:
        rule = (
            f"it needs {pixels * allocated // 8} bytes of pixels; {pixel_bytes} are there. Send the whole series again."
        )
        raise VolumeRefused("size", rule)


def _maker_of_mosaic(image: pydicom.FileDataset) -> str:
    """Name whose scanners lay many slices side by side into an image such as this one; nobody where it is one slice."""
    if "MOSAIC" in [str(word) for word in values(image, "ImageType")]:
        return "Siemens"
    own = values(image, GRID) if text(image, "Manufacturer").upper().startswith(GRID_MAKERS) else []
    try:
        slices = float(_plain(own))
    except ValueError:
        slices = len(own)
    return "United Imaging" if slices > 1 else ""


def _voxel_type(file: Path) -> str:
    """Ask GDCM for the type that it will make of the pixels, rescaled."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        rule = "it cannot be read by GDCM; it may be cut or broken. Send the whole series again."
        raise VolumeRefused("unreadable", rule) from None
    name = VOXEL_TYPES.get(reader.GetPixelID())
    if name is None:
        raise VolumeRefused("voxel-type", f"pixels of the type {reader.GetPixelID()} of SimpleITK are not taken.")
    return name


def _attributes(image: pydicom.Dataset) -> dict[str, Any]:
    """Gather the attributes that are handed on, in the DICOM JSON Model, without those that cannot be read."""
    meta = getattr(image, "file_meta", {})
    gathered = {}
    for tag, vr in ATTRIBUTES.items():
        found = values(meta if tag.startswith("0002") else image, int(tag, 16))
        try:
            made = [_json_value(value, vr) for value in found]
        except (TypeError, ValueError, OverflowError, UnicodeError):
            continue
        if made:
            gathered[tag] = {"vr": vr, "Value": made}
    for tag, other in (("00080016", 0x00020002), ("00080018", 0x00020003)):  # left out by some who anonymise
        if tag not in gathered and (found := values(meta, other)):
            gathered[tag] = {"vr": "UI", "Value": [str(found[0])[:LONGEST_TEXT]]}
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
