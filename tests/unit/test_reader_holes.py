"""Slices that are missing are told from slices that are unevenly spaced."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomaat.reader.holes import holes_in


@pytest.mark.parametrize(
    ("gaps", "holes"),
    [
        ([2, 2, 4, 2, 4, 2], [(2, 2.0), (4, 2.0)]),
        ([2, 2, 6, 2], [(2, 2.0)]),
        ([2.5] * 9 + [5], [(9, 2.5)]),
        ([2.5] * 9 + [5, 5], [(9, 2.5), (10, 2.5)]),
        ([2] * 9 + [4] * 3 + [2] * 9, [(9, 2.0), (10, 2.0), (11, 2.0)]),
        ([2.5] * 9 + [5] * 4 + [10] + [5] * 5, [(13, 5.0)]),
        ([2.5] * 9 + [7.5] + [5] * 9, [(9, 2.5)]),
        ([5, 10], [(1, 5.0)]),
        ([2.5] * 4 + [5] * 3, []),
        ([5] * 9 + [2.5] * 9 + [5] * 9, []),
        ([2.5] * 9 + [3.75] + [5] * 9, []),
        ([1] * 9 + [2] + [3] * 9, []),
        ([5] * 9 + [2.5, 2.5] + [5] * 9, []),
        ([2, 2, 3, 2, 2], []),
        ([2, 3] * 9, []),
        ([2.1, 1.8, 3.1, 1.8, 4.3], []),
        ([], []),
    ],
    ids=str,
)
def test_a_wide_gap_is_a_hole_unless_it_is_the_spacing_of_a_region(gaps, holes):
    assert holes_in(gaps) == holes


@given(
    st.floats(0.3, 10),
    st.integers(8, 60),
    st.floats(0, 0.04),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
def test_slices_lost_between_others_are_found_in_whatever_rounding_left(spacing, count, off, lost, seed):
    chance = np.random.default_rng(seed)
    depths = spacing * (np.arange(count) + chance.uniform(-off, off, count))
    first = int(chance.integers(1, count - lost)) if count - lost > 1 else 1
    gaps = np.diff(np.delete(depths, range(first, first + lost)))
    assert [place for place, _ in holes_in(gaps.tolist())] == [first - 1]
