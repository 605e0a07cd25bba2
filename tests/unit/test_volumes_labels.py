"""Parts and holes of labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tomaat.refusals import WrongType, WrongValue
from tomaat.volumes import Code, Labels, Volume

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
NAMES = {1: "liver", 2: "spleen"}


def labels(array, names=None):
    volume = Volume(array=np.asarray(array), spacing_mm=(1, 2, 3), origin_mm=(4, 5, 6), direction=AXES)
    return Labels(volume=volume, names=names or NAMES)


def cube(size=5, thick=1, value=1):
    array = np.full((size,) * 3, value, np.uint8)
    array[(slice(thick, -thick),) * 3] = 0
    return array


def test_codes_stay_with_their_labels_whatever_is_done_with_them():
    liver = Code("10200004", "SCT", "Liver")
    made = Labels(volume=labels(cube()).volume, names=NAMES, codes={1: liver})
    steps = (made.largest_part(), made.without_holes(), made.onto(made.volume), made.copied(lambda a, t: a.astype(t)))
    for each in (made, *steps):
        first, second = each.counted()
        assert first["code"] == liver.described()
        assert "code" not in second


@pytest.mark.parametrize(
    ("codes", "error", "told"),
    [
        ({3: Code("10200004", "SCT", "Liver")}, WrongValue, "codes: … has a code and no name"),
        ({1: "10200004"}, WrongType, 'codes: … is no code; write Code("10200004", "SCT", "Liver")'),
    ],
)
def test_a_code_that_is_none_or_of_no_label_is_refused(codes, error, told):
    with pytest.raises(error) as raised:
        Labels(volume=labels(cube()).volume, names=NAMES, codes=codes)
    assert raised.value.told == told


def test_of_each_label_the_largest_part_stays_on_the_same_grid():
    array = np.zeros((8, 4, 3), np.int16)
    array[0:2, 0, 0], array[4:7, 0, 0] = 1, 1
    array[0, 2:4, 2], array[6, 2, 2] = 2, 2
    kept = labels(array).largest_part()
    assert kept.volume.origin_mm == (4, 5, 6)
    assert kept.volume.array.dtype == np.int16
    assert np.argwhere(kept.volume.array == 1).tolist() == [[4, 0, 0], [5, 0, 0], [6, 0, 0]]
    assert np.argwhere(kept.volume.array == 2).tolist() == [[0, 2, 2], [0, 3, 2]]
    assert (array == 1).sum() == 5, "the volume that was given is as it was"


@pytest.mark.parametrize("step", [(1, 0, 0), (1, 1, 0), (1, 1, 1)], ids=["a face", "an edge", "a corner"])
def test_voxels_that_share_a_face_an_edge_or_a_corner_are_one_part(step):
    array = np.zeros((6, 3, 3), bool)
    array[0, 0, 0] = array[step] = array[5, 2, 2] = True
    assert labels(array).largest_part().volume.array.sum() == 2


def test_where_there_is_no_voxel_there_is_no_part():
    assert not labels(np.zeros((2, 3, 4), bool)).largest_part().volume.array.any()
    assert not labels(np.zeros((2, 3, 4), bool)).without_holes().volume.array.any()


def test_a_hole_is_filled_and_an_opening_stays_open():
    closed, opened = cube(), cube()
    opened[2, 2, 0] = 0
    assert labels(closed).without_holes().volume.array.all()
    assert np.array_equal(labels(opened).without_holes().volume.array, opened)
    assert not closed[2, 2, 2], "the volume that was given is as it was"


def test_a_hole_that_is_open_over_an_edge_only_is_a_hole():
    array = cube()
    array[2, 0, 0] = 0
    assert labels(array).without_holes().volume.array[2, 2, 2] == 1


def test_a_hole_keeps_the_other_label_that_lies_in_it():
    array = cube(7)
    array[2:5, 2:5, 2:5] = cube(3, value=2)
    filled = labels(array).without_holes().volume.array
    assert (filled == 2).sum() == 26
    assert filled[1, 1, 1] == 1
    assert filled[3, 3, 3] == 1, "both enclose it: it becomes the lowest"


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.uint8, (4, 3, 3), elements=st.integers(0, 2)))
def test_parts_only_lose_and_holes_only_gain_and_neither_does_anything_twice(array):
    given_labels = labels(array)
    parts, filled = given_labels.largest_part(), given_labels.without_holes()
    kept, full = parts.volume.array, filled.volume.array
    assert ((kept == array) | (kept == 0)).all()
    assert ((full == array) | (array == 0)).all()
    assert np.array_equal(parts.largest_part().volume.array, kept)
    assert {*np.unique(kept)} == {*np.unique(array)} | ({0} if (kept == 0).any() else set())


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 1, 8), (8, 8, 1), (8, 8, 8)])
@pytest.mark.parametrize("about", [(0, 7, 7), (7, 0, 7), (7, 7, 0), (7, 7, 7), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_labels_that_are_turned_about_any_line_of_the_input_are_sampled_anew(shape, about):
    """A corner on the line stays where it was, so no few corners tell."""
    axis = np.asarray(about) / np.linalg.norm(about)
    cross = np.cross(np.eye(3), axis)
    angle = np.radians(20)
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    array = np.random.default_rng(0).integers(0, 2, shape, np.uint8)
    place = {"spacing_mm": (1, 1, 1), "origin_mm": (0, 0, 0)}
    turned = Volume(array=array, direction=tuple(map(tuple, turn.tolist())), **place)
    grid = Volume(array=np.zeros(shape), direction=AXES, **place)
    there = Labels(volume=turned, names=NAMES).onto(grid)
    assert np.array_equal(there.volume.array, turned.onto(grid, interpolation="nearest").array)
    assert not np.array_equal(there.volume.array, array)
    assert np.array_equal(Labels(volume=grid.like(array), names=NAMES).onto(grid).volume.array, array)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int64, np.uint64])
@pytest.mark.parametrize(
    ("array", "names", "least"), [([0, 1, 3], {1, 5}, 3), ([0, 9], {1, 2}, 9), ([2, 4], {2, 3}, 4)]
)
def test_a_value_without_a_name_is_told_also_between_two_that_have_one(array, names, least, dtype):
    with pytest.raises(ValueError, match=f"holds the label {least}, which has no name"):
        labels(np.array(array, dtype).reshape(1, 1, -1), {value: str(value) for value in names})


def test_a_value_below_zero_is_no_label():
    with pytest.raises(ValueError, match="holds the label -1"):
        labels([[[-1, 1]]])


def test_names_with_gaps_are_taken_where_no_voxel_is_in_them():
    found = labels([[[0, 1, 300]]], {1: "one", 7: "seven", 300: "many"})
    assert [(label["value"], label["voxels"]) for label in found.counted()] == [(1, 1), (7, 0), (300, 1)]
    assert found.onto(found.volume).volume.array.dtype == np.uint16
