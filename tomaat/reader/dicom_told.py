"""Take apart what the limited process says of a DICOM series, and believe nothing: it touched a stranger's data."""

from __future__ import annotations

import json
import math
from typing import Any

from tomaat.headers.volume_header import BYTES_OF
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.slice import LABELS, TIME_OF_DAY, NoImage, Slice, Value

LONGEST_TEXT = 200  #: characters of a value; DICOM allows 64, and three times that in a person's name
BYTES_FOR_ALL, BYTES_FOR_EACH = 64 * 1024, 8 * 1024  #: that may be told
BYTES_FOR_FRAMES = 16 * 1024**2  #: likewise, of all frames
Header = dict[str, Any]
#: The attributes of each image that are handed on, by kind: patient, study, series, place, identity, storage.
KINDS = {
    "CS": "00080005 00080060 00100040",
    "DA": "00080020 00080021 00100030",
    "DS": "00180050 00200032 00200037 00280030",
    "IS": "00200011 00200013",
    "LO": "00081030 0008103E 00100020 00201040",
    "PN": "00080090 00100010",
    "SH": "00080050 00200010",
    "TM": "00080030 00080031",
    "UI": "00020010 00080016 00080018 0020000D 0020000E 00200052",
    "US": "00280010 00280011",
}
ATTRIBUTES = {tag: vr for vr, tags in KINDS.items() for tag in tags.split()}
NAME_PARTS = {"Alphabetic", "Ideographic", "Phonetic"}
NUMBERS = {"DS", "IS", "US"}
OF_A_FRAME = ("position_mm", "axes", "spacing_mm", "thickness_mm", "labels", "dtype")
LONGEST_LABEL = 64
MOST_VALUES = 16  #: of one attribute; an orientation has six


def take_apart(data: bytes) -> tuple[list[Slice], dict[int, Header], list[NoImage]]:
    """Give each image's header, by its number the attributes that are handed on, and the files that are no images.

    Raises ``VolumeRefused``.
    """
    try:
        told = json.loads(data)
        images = [one for one in told if "beside" not in one]
        slices = [slice_ for one in images for slice_ in _slices(one)]
        headers = {int(one["number"]): _header(one["header"]) for one in images}
        beside = [_beside(one) for one in told if "beside" in one]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        raise VolumeRefused("unreadable", "Reading the DICOM headers gave none; they are not taken.") from None
    return slices, headers, beside


def _beside(told: dict[str, Any]) -> NoImage:
    return NoImage(
        number=int(told["number"]),
        series=str(told["beside"])[:LONGEST_TEXT],
        kind=str(told["kind"])[:LONGEST_TEXT],
        known=told["known"] is True,
    )


def _slices(told: dict[str, Any]) -> list[Slice]:
    """Give the image, or each frame of it that says where it lies."""
    each = told.get("each")
    if each is None:
        return [_slice(told)]
    return [
        _slice({**told, **{key: frame[key] for key in OF_A_FRAME}, "frames": 1, "frame": number})
        for number, frame in enumerate(each)
    ]


def _slice(told: dict[str, Any]) -> Slice:
    fault = None
    if told["fault"] is not None:
        code, detail = map(str, told["fault"])
        fault = code[:LONGEST_TEXT], detail[: 2 * LONGEST_TEXT]
    position, spacing = _numbers(told["position_mm"], 3), _numbers(told["spacing_mm"], 2)
    thickness = _numbers(told["thickness_mm"], 1)
    dtype = str(told["dtype"])
    if dtype and dtype not in BYTES_OF:
        raise ValueError(dtype)
    return Slice(
        number=int(told["number"]),
        frame=int(told.get("frame", 0)),
        of_many="frame" in told,
        instance=None if told["instance"] is None else int(told["instance"]),
        uid=str(told["uid"])[:LONGEST_TEXT],
        kind=str(told["kind"])[:LONGEST_TEXT],
        image_type=str(told["image_type"])[:LONGEST_TEXT],
        series=str(told["series"])[:LONGEST_TEXT],
        description=str(told["description"])[:LONGEST_TEXT],
        modality=str(told["modality"])[:LONGEST_TEXT],
        columns=int(told["columns"]),
        rows=int(told["rows"]),
        frames=int(told["frames"]),
        samples=int(told["samples"]),
        dtype=dtype,
        position_mm=None if position is None else (position[0], position[1], position[2]),
        axes=_numbers(told["axes"], 6),
        spacing_mm=None if spacing is None else (spacing[0], spacing[1]),
        thickness_mm=None if thickness is None else thickness[0],
        labels=tuple((name, _label(name, str(value))) for name, value in told["labels"] if name in LABELS),
        digest=str(told.get("digest", ""))[:LONGEST_TEXT],
        fault=fault,
    )


def _label(name: str, text: str) -> Value:
    """Read what tells volumes apart: a number as one, so that they come in its order. A time keeps its digits."""
    if name == TIME_OF_DAY:
        return text[:LONGEST_LABEL]
    try:
        number = float(text)
    except ValueError:
        return text[:LONGEST_LABEL]
    return number if math.isfinite(number) else text[:LONGEST_LABEL]


def _numbers(told: Any, count: int) -> tuple[float, ...] | None:
    if told is None:
        return None
    numbers = tuple(float(number) for number in told)
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise ValueError(told)
    return numbers


def _header(told: dict[str, Any]) -> Header:
    """Keep the attributes of an image's DICOM JSON Model that are known, of the right kind, and short."""
    kept: Header = {}
    for tag, vr in ATTRIBUTES.items():
        if tag in told and len(told[tag]["Value"]) <= MOST_VALUES:
            kept[tag] = {"vr": vr, "Value": [_value(value, vr) for value in told[tag]["Value"]]}
    return kept


def _value(told: Any, vr: str) -> Any:
    if vr == "PN":
        return {name: str(text)[:LONGEST_TEXT] for name, text in told.items() if name in NAME_PARTS}
    if vr in NUMBERS:
        if not math.isfinite(told):
            raise ValueError(told)
        return float(told) if vr == "DS" else int(told)
    return str(told)[:LONGEST_TEXT]
