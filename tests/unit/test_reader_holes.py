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
        ([1] * 30 + [2.4] + [1] * 30, [(30, 1.0)]),
        ([5] * 10 + [12] + [5] * 10, [(10, 5.0)]),
        ([2, 2, 2, 4.6, 2, 2, 2], [(3, 2.0)]),
        ([5, 5, 7.5, 5, 5, 10, 5, 5], [(5, 5.0)]),
        ([3, 4, 50], [(2, 3.0)]),
        ([3, 4, 3, 4, 3, 4, 30, 3, 4], [(6, 3.0)]),
        ([2.1, 1.8, 3.1, 1.8, 4.3], [(4, 1.9)]),
        ([1] * 20 + [20] * 3, [(20, 1.0), (21, 1.0), (22, 1.0)]),
        ([20] * 3 + [1] * 20, [(0, 1.0), (1, 1.0), (2, 1.0)]),
        ([1] * 9 + [4] * 3 + [6] * 3, [(9, 1.0), (10, 1.0), (11, 1.0)]),
        ([2] * 9 + [1.9] + [4] * 2, [(10, 1.98), (11, 1.98)]),
        ([2.5] * 4 + [5] * 3, []),
        ([5] * 9 + [2.5] * 9 + [5] * 9, []),
        ([2.5] * 9 + [3.75] + [5] * 9, []),
        ([1] * 9 + [2] + [3] * 9, []),
        ([5] * 9 + [2.5, 2.5] + [5] * 9, []),
        ([2, 2, 3, 2, 2], []),
        ([2, 3] * 9, []),
        ([2.5] * 9 + [7.5] * 3, []),
        ([5] * 3 + [2.5] * 9 + [5] * 3, []),
        ([1.25] * 9 + [2.5] * 9 + [5] * 9, []),
        ([5] * 3 + [2.6, 2.4, 2.5] * 4, []),
        ([4], []),
        ([], []),
    ],
    ids=str,
)
def test_a_wide_gap_is_a_hole_unless_it_is_the_spacing_of_a_region(gaps, holes):
    assert [(place, pytest.approx(usual)) for place, usual in holes_in(gaps)] == holes


@given(
    st.floats(0.2, 10),
    st.integers(8, 60),
    st.one_of(st.just("to a tenth of a mm"), st.floats(0, 0.05)),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_slices_lost_between_others_are_found_in_whatever_rounding_left(spacing, count, off, lost, seed):
    """And nothing else is; ``off`` is of a gap, for each place."""
    chance = np.random.default_rng(seed)
    depths = spacing * (chance.uniform(0, 1) + np.arange(count))
    depths = depths.round(1) if isinstance(off, str) else depths + spacing * chance.uniform(-off, off, count)
    assert holes_in(np.diff(depths).tolist()) == []
    first = int(chance.integers(1, count - lost))
    gaps = np.diff(np.delete(depths, range(first, first + lost)))
    assert [place for place, _ in holes_in(gaps.tolist())] == [first - 1]
