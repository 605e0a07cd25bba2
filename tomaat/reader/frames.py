"""Take the frames of an enhanced image apart, and lay one as an image of its own, as GDCM reads it rightly.

GDCM rescales all frames of a file as the first one asks, and a frame may have its own slope. It also reads no image
without a transfer syntax, or of a class that it does not know. So such images are written again, in memory: the pixels
as they lie in the file, before them the few attributes that say how they are stored, behind them padding that DICOM
has for this. Source: DICOM PS3.5, 7.1 and A.4; PS3.3, C.7.6.16.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pydicom
from pydicom.encaps import generate_frames

from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.attributes import is_given, numbers, text, values, whole
from tomaat.reader.dicom_told import LONGEST_TEXT
from tomaat.refusals import shown

SHARED, EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
#: Of these, of what a frame's indices count, and of where compressed frames lie.
GROUP_TAGS = (0x52009229, 0x52009230, 0x00209222, 0x7FE00001, 0x7FE00002)
#: Indices that count slices: InStackPositionNumber, ImagePositionPatient, SliceLocation, its place in a volume.
OF_PLACE = {0x00209057, 0x00200032, 0x00201041, 0x00209301}
MOST_FRAMES = 16_384  #: of all images that were sent
#: Ends of the names of the classes; X-Ray 3D is what cone beams make, of angiography and of teeth.
ENHANCED = (
    *("CT Image Storage", "MR Image Storage", "PET Image Storage"),
    *("X-Ray 3D Angiographic Image Storage", "X-Ray 3D Craniofacial Image Storage"),
)
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
PLAIN = {EXPLICIT_LITTLE, "1.2.840.10008.1.2"}  #: syntaxes of which the pixels lie as ``EXPLICIT_LITTLE`` has them
CT = "1.2.840.10008.5.1.4.1.1.2"  #: GDCM rescales images of this class
ITEM_HEAD = struct.Struct("<HHL")  #: group, element, length
HEAD_BYTES = 4096  #: that the attributes before and behind the pixels take at most
#: Where a frame says what tells it from others at the same place: label, sequence, attribute.
FRAME_LABELS = (
    ("image type", "MRImageFrameTypeSequence", "FrameType"),
    ("image type", "CTImageFrameTypeSequence", "FrameType"),
    ("image type", "PETFrameTypeSequence", "FrameType"),
    ("stack", "FrameContentSequence", "StackID"),
    ("echo time", "MREchoSequence", "EffectiveEchoTime"),
    ("inversion time", "MRModifierSequence", "InversionTimes"),
    ("flip angle", "MRTimingAndRelatedParametersSequence", "FlipAngle"),
    ("b-value", "MRDiffusionSequence", "DiffusionBValue"),
    ("temporal position", "FrameContentSequence", "TemporalPositionIndex"),
    ("time offset", "TemporalPositionSequence", "TemporalPositionTimeOffset"),
    ("trigger time", "CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    ("kernel", "CTReconstructionSequence", "ConvolutionKernel"),
    ("kVp", "CTXRayDetailsSequence", "KVP"),
    ("acquisition", "FrameContentSequence", "FrameAcquisitionNumber"),
    ("acquisition time", "FrameContentSequence", "FrameAcquisitionDateTime"),
)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How the pixels of an image are stored."""

    syntax: str
    columns: int
    rows: int
    bits: tuple[int, int, int]  #: allocated, stored, the highest
    signed: int
    slope: str
    intercept: str


def is_enhanced(image: pydicom.Dataset) -> bool:
    """Tell whether an image has frames that say where each lies."""
    return is_given(image, EACH) or is_given(image, SHARED)


def frames_of(image: pydicom.Dataset) -> Iterator[dict[str, Any]]:
    """Yield what each frame says of itself, for ``dicom_told``. Raises ``VolumeRefused`` where that is no order."""
    each, count = values(image, EACH), whole(image, "NumberOfFrames", 1)
    if count < 1 or len(each) != count:
        rule = f"it has {count} frames, and {len(each)} of them say where they lie; export it again"
        raise VolumeRefused("multi-frame", f"{rule}.")
    shared = next(iter(values(image, SHARED)), pydicom.Dataset())
    counted = [whole(item, "DimensionIndexPointer") for item in values(image, "DimensionIndexSequence")]
    for frame in each:
        groups = (frame, shared)
        spacing = numbers(_item(groups, "PixelMeasuresSequence"), "PixelSpacing", 2)
        yield {
            "position_mm": numbers(_item(groups, "PlanePositionSequence"), "ImagePositionPatient", 3),
            "axes": numbers(_item(groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
            "spacing_mm": spacing and spacing[::-1],
            "thickness_mm": numbers(_item(groups, "PixelMeasuresSequence"), "SliceThickness", 1),
            "labels": _labels(groups, counted),
            "rescale": rescale_of(_item(groups, "PixelValueTransformationSequence"), image),
        }


def _item(groups: Sequence[pydicom.Dataset], sequence: str) -> pydicom.Dataset:
    """Give a frame's own group of attributes, else the one that all frames share, else an empty one."""
    for group in groups:
        for item in values(group, sequence):
            return item  # type: ignore[no-any-return]  # of a sequence
    return pydicom.Dataset()


def _labels(groups: Sequence[pydicom.Dataset], counted: Sequence[int]) -> list[list[Any]]:
    """Tell what a frame is; of its indices those that count anything but slices, where the image says what they do."""
    labels = {}
    for label, sequence, keyword in FRAME_LABELS:
        if value := text(_item(groups, sequence), keyword):
            labels[label] = value
    diffusion = _item(groups, "MRDiffusionSequence")
    for item in values(diffusion, "DiffusionGradientDirectionSequence"):
        labels["gradient"] = text(item, "DiffusionGradientOrientation")
    indices = values(_item(groups, "FrameContentSequence"), "DimensionIndexValues")
    if len(indices) == len(counted):
        indices = [index for index, of in zip(indices, counted, strict=True) if of not in OF_PLACE]
    if value := "\\".join(map(str, indices))[:LONGEST_TEXT]:
        labels["dimensions"] = value
    return [[label, value] for label, value in labels.items()]


def rescale_of(item: pydicom.Dataset, image: pydicom.Dataset) -> tuple[str, str]:
    """Give slope and intercept as they are written, of a frame or else of its image."""
    holder = item if is_given(item, "RescaleSlope") or is_given(item, "RescaleIntercept") else image
    for name in ("RescaleSlope", "RescaleIntercept"):
        number = numbers(holder, name, 1)
        if is_given(holder, name) and (number is None or (number == [0] and name == "RescaleSlope")):
            said = shown(text(holder, name))
            rule = f"{name} is {said}, which is no number that values can be rescaled with; export it again."
            raise VolumeRefused("header", rule)
    return text(holder, "RescaleSlope") or "1", text(holder, "RescaleIntercept") or "0"


def pixels_of(
    opened: BinaryIO, image: pydicom.Dataset, stored: Stored, at: int, wanted: Collection[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield the pixels of the frames that are wanted, as they lie in the file, and the number of each."""
    if stored.syntax in PLAIN:
        size = stored.columns * stored.rows * stored.bits[0] // 8
        for number in sorted(wanted):
            opened.seek(at + number * size)
            pixels = opened.read(size)
            if len(pixels) != size:
                rule = f"frame {number + 1} needs {size} bytes of pixels; {len(pixels)} are there."
                raise VolumeRefused("size", f"{rule} Send the whole series again.")
            yield number, pixels
        return
    opened.seek(at)
    offsets = [b"".join(values(image, name)) for name in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    count = whole(image, "NumberOfFrames", 1)
    frames = generate_frames(
        opened, number_of_frames=count, extended_offsets=(offsets[0], offsets[1]) if all(offsets) else None
    )
    came = 0
    for number, pixels in enumerate(frames):
        if not pixels:
            raise VolumeRefused("size", f"frame {number + 1} is empty. Send the whole series again.")
        came += 1
        if number in wanted:
            yield number, pixels
    if came != count:
        raise VolumeRefused("size", f"it has {count} frames, and {came} are there. Send the whole series again.")


def has_all_items(opened: BinaryIO, at: int, size: int) -> bool:
    """Tell whether a file of a size has all items of its compressed pixels, and the end of their sequence.

    Source: DICOM PS3.5, A.4.
    """
    while True:
        opened.seek(at)
        head = opened.read(ITEM_HEAD.size)
        if len(head) < ITEM_HEAD.size:
            return False
        group, element, length = ITEM_HEAD.unpack(head)
        at += ITEM_HEAD.size + length
        if (group, element) == (0xFFFE, 0xE0DD):
            return True
        if (group, element) != (0xFFFE, 0xE000) or at > size:
            return False


def storage_of(image: pydicom.Dataset) -> list[list[str]]:
    """Give what makes values of an image's pixels, and of its frames', as it is written."""
    shared, each = values(image, SHARED), values(image, EACH)
    rescales = [_item((group,), "PixelValueTransformationSequence") for group in (*shared, *each)]
    bits = [text(image, name) for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")]
    return [bits, *([text(one, "RescaleSlope"), text(one, "RescaleIntercept")] for one in (image, *rescales))]


def write_single(pixels: bytes, stored: Stored, memory: mmap.mmap) -> None:
    """Write one image into all of a memory; raises ``VolumeRefused`` where it does not fit."""
    encapsulated = stored.syntax not in PLAIN
    syntax = stored.syntax if encapsulated else EXPLICIT_LITTLE
    pixels += bytes(len(pixels) % 2)
    meta = _element(0x0002, 0x0010, b"UI", _uid(syntax))
    parts = [
        bytes(128) + b"DICM",
        _element(0x0002, 0x0000, b"UL", struct.pack("<L", len(meta))) + meta,
        _element(0x0008, 0x0016, b"UI", _uid(CT)),
        _element(0x0028, 0x0002, b"US", struct.pack("<H", 1)),
        _element(0x0028, 0x0004, b"CS", b"MONOCHROME2 "),
        *(
            _element(0x0028, element, b"US", struct.pack("<H", number))
            for element, number in zip(
                (0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103),
                (stored.rows, stored.columns, *stored.bits, stored.signed),
                strict=True,
            )
        ),
        _element(0x0028, 0x1052, b"DS", _even(stored.intercept)),
        _element(0x0028, 0x1053, b"DS", _even(stored.slope)),
    ]
    if encapsulated:
        items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE000, len(pixels))
        parts += [struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF), items, pixels]
        parts += [struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)]
    else:
        vr = b"OB" if stored.bits[0] == 8 else b"OW"  # noqa: PLR2004 (bits)
        parts += [struct.pack("<HH2sHL", 0x7FE0, 0x0010, vr, 0, len(pixels)), pixels]
    written = b"".join(parts)
    padding = len(memory) - len(written) - 12
    if padding < 0:
        raise VolumeRefused("unreadable", "a frame has more bytes than its pixels can need; it is not taken.")
    memory[: len(written) + 12] = written + struct.pack("<HH2sHL", 0xFFFC, 0xFFFC, b"OB", 0, padding)


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value


def _uid(uid: str) -> bytes:
    return uid.encode() + bytes(len(uid) % 2)


def _even(number: str) -> bytes:
    return number.encode("ascii", errors="replace") + b" " * (len(number) % 2)
