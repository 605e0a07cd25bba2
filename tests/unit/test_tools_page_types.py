"""The page's types are those of the answers."""

from typing import get_args, get_type_hints

import Inputs
from Inputs import FloatInput, IntInput, PointListInput, SingleChoiceInput, StringInput, VolumeInput
from tomaat.web.api.shapes import DescribedInput
from tools.page_types import FILE, page_types

TYPES = get_type_hints(DescribedInput)
DECLARED = [
    FloatInput("x", "X", minimum=0, unit="mm"),
    IntInput("x", "X"),
    PointListInput("x", "X"),
    SingleChoiceInput("x", "X", choices=["a"]),
    StringInput("x", "X"),
    VolumeInput("x", "X"),
    Inputs.BooleanInput("x", "X"),
]


def test_the_file_of_types_is_the_one_that_the_shapes_give():
    assert FILE.read_text(encoding="utf-8") == page_types(), "run python -m tools.page_types"


def test_a_field_that_may_be_absent_null_or_a_list_is_written_as_such():
    written = page_types()
    for line in ("  errors?: Fault[];", "  error: Problem | null;", "  interface: Record<string, Input>;"):
        assert line in written.splitlines()


def test_every_input_describes_itself_by_the_keys_that_are_declared():
    assert {declared.type for declared in DECLARED} == Inputs.TYPES.keys() == set(get_args(TYPES["type"]))
    keys = {key for declared in (*DECLARED, VolumeInput("x", "X", resampled=False)) for key in declared.describe()}
    assert keys == TYPES.keys()
