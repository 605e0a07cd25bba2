import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Inputs import FloatInput, InputRefused

SIGMA = FloatInput("sigma", "Width", minimum=0.1, maximum=10, unit="mm")


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), (0.1, 0.1), (10, 10.0)])
def test_a_number_within_the_range_becomes_a_float(value, number):
    checked = SIGMA.check(value)
    assert type(checked) is float
    assert checked == number


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        (30, "out-of-range", "sigma: 30 is outside 0.1 to 10 mm."),
        (0.09999999, "out-of-range", "sigma: 0.09999999 is outside 0.1 to 10 mm."),
        ("abc", "not-a-number", "sigma: 'abc' is not a number."),
        ("3", "not-a-number", "sigma: '3' is not a number."),
        (True, "not-a-number", "sigma: true is not a number."),
        (None, "not-a-number", "sigma: null is not a number."),
        ([3], "not-a-number", "sigma: [3] is not a number."),
        ({"a": 3}, "not-a-number", "sigma: an object of 1 entries is not a number."),
        (math.nan, "not-finite", "sigma: NaN is not a finite number."),
        (math.inf, "not-finite", "sigma: the number is infinite or too large for 64 bits."),
        (float("1e400"), "not-finite", "sigma: the number is infinite or too large for 64 bits."),
        (10**400, "not-finite", "sigma: the number is infinite or too large for 64 bits."),
    ],
)
def test_anything_else_is_refused_by_name(value, code, detail):
    with pytest.raises(InputRefused) as refusal:
        SIGMA.check(value)
    assert (refusal.value.code, refusal.value.detail) == (code, detail)


def test_a_bound_that_is_absent_bounds_nothing():
    assert FloatInput("x", "X", minimum=0).check(1e300) == 1e300
    with pytest.raises(InputRefused, match=r"x: -1 is below 0\."):
        FloatInput("x", "X", minimum=0).check(-1)
    with pytest.raises(InputRefused, match=r"x: 2 is above 1 s\."):
        FloatInput("x", "X", maximum=1, unit="s").check(2)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"minimum": 2, "maximum": 1}, "FloatInput('x'): minimum=2 is above maximum=1."),
        ({"minimum": math.nan}, "FloatInput('x'): minimum=nan is no bound"),
        ({"minimum": "0"}, "FloatInput('x'): minimum='0' is no bound"),
        ({"maximum": 1, "default": 2}, "FloatInput('x'): its own default is refused: x: 2 is above 1."),
        ({"default": True}, "FloatInput('x'): its own default is refused: x: true is not a number."),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused_to_its_author(rules, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        FloatInput("x", "X", **rules)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_taken_as_it_is(number):
    assert FloatInput("x", "X").check(number) == number


@given(st.none() | st.booleans() | st.text() | st.lists(st.integers()) | st.dictionaries(st.text(), st.integers()))
def test_nothing_but_a_number_is_a_number(value):
    with pytest.raises(InputRefused, match=r"^x: "):
        FloatInput("x", "X").check(value)
