"""What a task may ask for. Standard library only: the web process checks with these classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Inputs.BooleanInput import BooleanInput
from Inputs.FloatInput import FloatInput
from Inputs.Input import NO_DEFAULT, Input, InputRefused
from Inputs.IntInput import IntInput
from Inputs.PointListInput import PointListInput
from Inputs.SingleChoiceInput import SingleChoiceInput
from Inputs.StringInput import StringInput
from Inputs.VolumeInput import VolumeInput

CLASSES: dict[str, type[Input]] = {
    each.type: each
    for each in (
        VolumeInput,
        FloatInput,
        IntInput,
        StringInput,
        SingleChoiceInput,
        BooleanInput,
        PointListInput,
    )
}
DERIVED = {"volume": "extensions", "pointlist": "unit"}  #: described, but no argument


def from_description(description: Mapping[str, Any]) -> Input:
    """Make the input again that described itself so. Raises ``ValueError`` for an unknown type."""
    kind = description["type"]
    if kind not in CLASSES:
        raise ValueError(f"{kind!r} is no type of an input; {', '.join(CLASSES)} are")
    dropped = {"type", "store", DERIVED.get(kind)}
    arguments = {name: value for name, value in description.items() if name not in dropped}
    if arguments["default"] is None:
        del arguments["default"]
    return CLASSES[kind](**arguments)


__all__ = [
    "NO_DEFAULT",
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
