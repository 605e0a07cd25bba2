"""Read single attributes of a stranger's image, whatever they hold."""

from __future__ import annotations

import math
from typing import Any

import pydicom

from tomaat.reader.dicom_told import LONGEST_TEXT


def values(image: Any, key: Any) -> list[Any]:
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
    return list(value) if isinstance(value, (list, pydicom.multival.MultiValue, pydicom.Sequence)) else [value]


def is_given(image: pydicom.Dataset, keyword: str) -> bool:
    """Tell whether an attribute has any value."""
    item = image.get_item(keyword)
    return item is not None and item.value not in (None, b"", "")


def text(image: Any, keyword: str) -> str:
    """Give an attribute's values as one text, as DICOM writes them."""
    return "\\".join(str(value) for value in values(image, keyword))[:LONGEST_TEXT]


def numbers(image: Any, keyword: str, count: int) -> list[float] | None:
    """Give an attribute's numbers where they are so many, and finite."""
    try:
        found = [float(value) for value in values(image, keyword)]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def whole(image: Any, keyword: str, absent: int = 0) -> int:
    """Give an attribute's one number, without its decimals."""
    number = numbers(image, keyword, 1)
    return absent if number is None else int(number[0])
