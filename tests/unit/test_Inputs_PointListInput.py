import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Inputs import InputRefused, PointListInput

SEEDS = PointListInput("seeds", "Seeds", fewest=1, most=3)
COORDINATE = st.floats(-500, 500)


def test_points_are_taken_as_floats():
    assert SEEDS.check([[1, 2.5, -3]]) == [[1.0, 2.5, -3.0]]


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        ([], "number-of-points", "seeds: 0 points are outside 1 to 3."),
        ([[0, 0, 0]] * 4, "number-of-points", "seeds: 4 points are outside 1 to 3."),
        ([0, 0, 0], "not-a-point", "seeds: point 1, 0, is not [x, y, z]."),
        ([[0, 0, 0], [0, 0]], "not-a-point", "seeds: point 2, [0, 0], is not [x, y, z]."),
        ([[[0, 0, 0]]], "not-a-point", "seeds: point 1, a list of 1 values, is not [x, y, z]."),
        ([[0, 0, True]], "not-a-number", "seeds: z of point 1: true is not a number."),
        ([[0, "0", 0]], "not-a-number", "seeds: y of point 1: '0' is not a number."),
        ([[math.nan, 0, 0]], "not-finite", "seeds: x of point 1: NaN is not a finite number."),
        ({"x": 1}, "not-a-point-list", "seeds: an object of 1 entries is not a list of points [x, y, z]."),
        ("[[0,0,0]]", "not-a-point-list", "seeds: '[[0,0,0]]' is not a list of points [x, y, z]."),
    ],
)
def test_anything_else_is_refused_with_its_place(value, code, detail):
    with pytest.raises(InputRefused) as refusal:
        SEEDS.check(value)
    assert (refusal.value.code, refusal.value.detail) == (code, detail)


@given(st.tuples(COORDINATE, COORDINATE, COORDINATE))
def test_perform_gets_lps_whatever_the_client_writes(point):
    x, y, z = point
    for coordinates, expected in [("LPS", (x, y, z)), ("RAS", (-x, -y, z))]:
        declared = PointListInput("seeds", "Seeds", coordinates=coordinates)
        assert declared.convert(declared.check([list(point)])) == (expected,)


def test_the_description_says_which_coordinates():
    described = PointListInput("seeds", "Seeds", coordinates="RAS").describe()
    assert (described["coordinates"], described["unit"]) == ("RAS", "mm")


def test_other_coordinates_are_refused_to_their_author():
    with pytest.raises(ValueError, match="coordinates='ras'; write 'LPS' or 'RAS'"):
        PointListInput("seeds", "Seeds", coordinates="ras")
    with pytest.raises(ValueError, match="fewest=3 and most=2"):
        PointListInput("seeds", "Seeds", fewest=3, most=2)
