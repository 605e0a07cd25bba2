"""The inputs that a task may declare: each describes itself, checks a client's value, and hands it to ``perform``.

Standard library only, so that the web process can check payloads without numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Inputs.BooleanInput import BooleanInput
from Inputs.FloatInput import FloatInput
from Inputs.Input import Input
from Inputs.InputRefused import InputRefused
from Inputs.IntInput import IntInput
from Inputs.PointListInput import PointListInput
from Inputs.SingleChoiceInput import SingleChoiceInput
from Inputs.StringInput import StringInput
from Inputs.VolumeInput import VolumeInput

__all__ = [
    "BooleanInput",
    "FloatInput",
    "Input",
    "InputRefused",
    "IntInput",
    "PointListInput",
    "SingleChoiceInput",
    "StringInput",
    "VolumeInput",
    "from_description",
]

TYPES: dict[str, type[Input]] = {
    kind.type: kind
    for kind in (BooleanInput, FloatInput, IntInput, PointListInput, SingleChoiceInput, StringInput, VolumeInput)
}


def from_description(description: Mapping[str, Any]) -> Input:
    """Make an input equal to the one that described itself so; raises ``ValueError`` for an unknown type.

    >>> original = FloatInput("cut", "Probability", minimum=0, maximum=1, default=0.5)
    >>> from_description(original.describe()) == original
    True
    """
    kind = TYPES.get(description["type"])
    if kind is None:
        raise ValueError(f"{description['type']!r} is none of {', '.join(sorted(TYPES))}.")
    return kind(**{key: value for key, value in description.items() if key not in kind.only_described})
