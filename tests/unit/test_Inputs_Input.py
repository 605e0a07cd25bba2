"""What all inputs have in common."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import Inputs
from Inputs import (
    BooleanInput,
    FloatInput,
    InputRefused,
    IntInput,
    PointListInput,
    SingleChoiceInput,
    StringInput,
    VolumeInput,
    from_description,
)

IDS = st.from_regex(r"x[A-Za-z0-9_]{0,20}", fullmatch=True)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=30)
POINTS = st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3), min_size=1, max_size=5)
TEXTS = st.lists(NAMES, min_size=1, max_size=5, unique=True)
INPUTS = st.one_of(
    st.builds(BooleanInput, IDS, NAMES, default=st.none() | st.booleans(), description=NAMES),
    st.builds(
        FloatInput,
        IDS,
        NAMES,
        minimum=st.none() | st.floats(-9, 0),
        maximum=st.floats(5, 9),
        unit=NAMES.map(lambda text: text[:5]),
        default=st.none() | st.floats(0, 5),
    ),
    st.builds(
        IntInput, IDS, NAMES, minimum=st.none() | st.integers(-9, 0), default=st.none() | st.integers(0, 2**53 - 1)
    ),
    st.builds(StringInput, IDS, NAMES, longest=st.integers(30, 99), default=st.none() | NAMES, required=st.booleans()),
    TEXTS.flatmap(
        lambda texts: st.builds(
            SingleChoiceInput, IDS, NAMES, choices=st.just(texts), default=st.none() | st.sampled_from(texts)
        )
    ),
    st.builds(
        PointListInput,
        IDS,
        NAMES,
        coordinates=st.sampled_from(["LPS", "RAS"]),
        most=st.integers(5, 9),
        default=st.none() | POINTS,
    ),
    st.builds(VolumeInput, IDS, NAMES, largest_voxel_bytes=st.none() | st.integers(1, 10**9), required=st.booleans()),
)


@given(INPUTS)
def test_a_description_read_back_from_json_makes_an_equal_input(declared):
    again = from_description(json.loads(json.dumps(declared.describe(), allow_nan=False)))
    assert type(again) is type(declared)
    assert again == declared
    assert hash(again) == hash(declared)


@given(INPUTS)
def test_a_default_passes_its_own_check_and_makes_the_input_optional(declared):
    if declared.default is not None:
        assert declared.check(declared.default) == declared.default
        assert not declared.required


def test_inputs_of_other_rules_are_not_equal():
    assert FloatInput("x", "X", minimum=0) != FloatInput("x", "X", minimum=1)
    assert FloatInput("x", "X") != IntInput("x", "X")


@pytest.mark.parametrize("id", ["", "1x", "a-b", "a b", "é", "class", "self", "x" * 65, "a.b", "a/b"])
def test_an_id_that_cannot_be_an_argument_is_refused_to_its_author(id):
    with pytest.raises(ValueError, match="cannot be an id"):
        BooleanInput(id, "X")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((5, "X"), TypeError), (("x", ""), ValueError), (("x", None), TypeError), (("x", "a\0"), ValueError)],
)
def test_a_name_that_cannot_be_shown_is_refused_to_its_author(arguments, error):
    with pytest.raises(error):
        BooleanInput(*arguments)


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="'dicom' is none of boolean, float, int"):
        from_description({"type": "dicom", "id": "x", "name": "X"})


def test_the_types_are_the_protocols():
    assert set(Inputs.TYPES) == {"volume", "float", "int", "str", "singlechoice", "boolean", "pointlist"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(INPUTS, JSON)
def test_whatever_is_sent_is_taken_or_refused_in_a_short_sentence_with_the_inputs_id(declared, value):
    try:
        checked = declared.check(value)
    except InputRefused as error:
        refusal = error
    else:
        json.dumps(checked, allow_nan=False)
        return
    assert refusal.detail.startswith(f"{declared.id}: ")
    assert len(refusal.detail) < 400
    assert refusal.detail.isprintable()
