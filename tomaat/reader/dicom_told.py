"""Take apart what the limited process says of a DICOM series, and believe nothing: it touched a stranger's data."""

from __future__ import annotations

import json
import math
from typing import Any

from tomaat.headers.volume_header import BYTES_OF
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.series import NoImage, Slice

LONGEST_TEXT = 200  #: characters of a value; DICOM allows 64, and three times that in a person's name
BYTES_FOR_ALL, BYTES_FOR_EACH = 64 * 1024, 8 * 1024  #: that may be told
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
MOST_VALUES = 16  #: of one attribute; an orientation has six


def take_apart(data: bytes) -> tuple[list[Slice], dict[int, Header], list[NoImage]]:
    """Give each image's header, by its number the attributes that are handed on, and the files that are no images.

    Raises ``VolumeRefused``.
    """
    try:
        told = json.loads(data)
        images = [one for one in told if "beside" not in one]
        slices = [_slice(one) for one in images]
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
        fault=fault,
    )


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
