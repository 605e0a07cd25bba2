"""Labels that are counted run by run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tomaat.volumes import runs


@st.composite
def lying_anyhow(draw):
    """An array of few values, whose axes lie in any order and run in any direction, also in part of another one."""
    dtype = draw(st.sampled_from([np.uint8, np.uint16, bool, np.int64, ">u2"]))
    largest = 1 if dtype is bool else draw(st.sampled_from([1, 3, 200]))
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    array = draw(arrays.arrays(dtype, shape, elements=st.integers(0, largest)))
    array = array.transpose(draw(st.permutations(range(3))))
    return array[tuple(slice(None, None, draw(st.sampled_from([1, -1, 2]))) for _ in range(3))]


@pytest.fixture(autouse=True, params=[1, 20, 8 * 1024**2], ids="slabs of {}".format)
def slab_voxels(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "SLAB_VOXELS", request.param)
        yield


@given(array=lying_anyhow())
def test_values_are_counted_as_numpy_counts_them(array):
    values, counts = np.unique(array, return_counts=True)
    assert runs.count_values(array) == dict(zip(values.tolist(), counts.tolist(), strict=True))


@given(array=lying_anyhow(), value=st.integers(0, 3))
def test_planes_are_counted_as_numpy_counts_them(array, value):
    mask = array == value
    counted = runs.count_in_planes(array, value)
    for axis in range(3):
        assert counted[axis].tolist() == mask.sum(axis=tuple({0, 1, 2} - {axis})).tolist()


def test_what_has_no_voxel_has_no_values():
    assert runs.count_values(np.zeros((0, 2, 3), np.uint8)) == {}
    assert [len(counts) for counts in runs.count_in_planes(np.zeros((2, 0, 3), np.uint8), 1)] == [2, 0, 3]
