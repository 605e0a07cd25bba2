import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Inputs import InputRefused, IntInput

STEPS = IntInput("steps", "Steps", minimum=1, maximum=100)


@pytest.mark.parametrize("value", [1, 100, 3.0])
def test_a_whole_number_within_the_range_becomes_an_int(value):
    checked = STEPS.check(value)
    assert type(checked) is int
    assert checked == value


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        (0, "out-of-range", "steps: 0 is outside 1 to 100."),
        (3.5, "not-an-integer", "steps: 3.5 is not a whole number."),
        (True, "not-a-number", "steps: true is not a number."),
        ("7", "not-a-number", "steps: '7' is not a number."),
        (math.nan, "not-finite", "steps: NaN is not a finite number."),
        (-math.inf, "not-finite", "steps: the number is infinite or too large for 64 bits."),
        (int("9" * 4000), "not-finite", "steps: the number is infinite or too large for 64 bits."),
        (2**53, "out-of-range", f"steps: {2**53} is outside {-(2**53) + 1} to {2**53 - 1}."),
    ],
)
def test_anything_else_is_refused_by_name(value, code, detail):
    with pytest.raises(InputRefused) as refusal:
        STEPS.check(value)
    assert (refusal.value.code, refusal.value.detail) == (code, detail)


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_no_digit_of_a_whole_number_is_lost(number):
    assert IntInput("n", "N").check(number) == number
