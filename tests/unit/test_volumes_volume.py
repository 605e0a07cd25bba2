"""A volume's voxels keep their place, whatever is made of it: random grids, oblique, flipped and anisotropic."""

import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from tomaat.volumes import Volume
from tomaat.volumes.dicom_source import DicomSource
from tomaat.volumes.tensors import voxels_of
from tomaat.volumes.volume import moved

EXACT_MM = 1e-6
AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
ORIENTATIONS = [
    "".join(letters) for order in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*order)
]
angles = st.floats(-np.pi, np.pi)
millimetres = st.floats(-1e5, 1e5)


def rotation(a, b, c):
    """Turn by three angles about x, y and z."""
    turns = np.eye(3)
    for axis, angle in enumerate((a, b, c)):
        one, other = [n for n in range(3) if n != axis]
        turn = np.eye(3)
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        turns = turns @ turn
    return turns


@st.composite
def volumes(draw, largest=6):
    """Volumes of any orientation, left-handed ones too."""
    axes = rotation(draw(angles), draw(angles), draw(angles))
    axes = axes[:, draw(st.permutations(range(3)))] * draw(st.lists(st.sampled_from([-1, 1]), min_size=3, max_size=3))
    shape = draw(array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=largest))
    return Volume(
        array=np.arange(np.prod(shape), dtype=np.int32).reshape(shape),
        spacing_mm=tuple(draw(st.lists(st.floats(0.05, 20), min_size=3, max_size=3))),
        origin_mm=tuple(draw(st.lists(millimetres, min_size=3, max_size=3))),
        direction=tuple(map(tuple, axes.tolist())),
    )


def places(volume):
    """Tell where each value lies."""
    return {int(value): volume.to_physical(index) for index, value in np.ndenumerate(volume.array)}


def same_place(one, other, within_mm=EXACT_MM):
    return np.allclose(one, other, rtol=0, atol=within_mm)


@pytest.mark.slow
@given(volumes(), st.sampled_from(ORIENTATIONS))
@settings(max_examples=300, deadline=None)
def test_turning_the_axes_leaves_each_voxel_in_its_place(volume, orientation):
    turned = volume.reoriented(orientation)
    assert turned.orientation == orientation
    before, after = places(volume), places(turned)
    assert before.keys() == after.keys()
    assert all(same_place(before[value], after[value]) for value in before)
    back = turned.reoriented(volume.orientation)
    assert (back.array == volume.array).all()
    assert same_place(back.origin_mm, volume.origin_mm)


@given(volumes(), st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_an_index_is_found_again_from_its_place(volume, index):
    assert np.allclose(volume.to_index(volume.to_physical(index)), index, atol=1e-5)


@given(volumes(), st.data())
@settings(deadline=None)
def test_a_block_of_the_volumes_own_voxels_has_them_in_their_places(volume, data):
    center = volume.to_physical([data.draw(st.floats(-3, side + 3)) for side in volume.array.shape])
    block = volume.cropped(center, data.draw(st.tuples(*[st.integers(1, 9)] * 3)), outside=-1)
    known = places(volume)
    inside = {value: place for value, place in places(block).items() if value >= 0}
    assert all(same_place(known[value], place) for value, place in inside.items())
    apart = np.abs(np.asarray(block.to_index(block.center_mm)) - block.to_index(center))
    assert (apart <= 0.5 + 1e-6).all()


NEARLY_TURNED = Volume(
    array=np.array([[[0]]], np.int32),
    spacing_mm=(11.0, 1.0, 1.0),
    origin_mm=(0.0, 0.0, 0.0),
    direction=((1.1e-308, 9.98e-147, 1.0), (9.98e-147, -1.0, 4.15e-162), (-1.0, -9.98e-147, 3.03e-308)),
)


@given(volumes(largest=5), st.sampled_from(ORIENTATIONS))
@example(NEARLY_TURNED, "LPS")
@settings(max_examples=60, deadline=None)
def test_the_way_back_onto_the_inputs_grid_is_exact_for_its_own_voxels(volume, orientation):
    there = volume.reoriented(orientation)
    back = there.onto(volume, interpolation="nearest", outside=-1)
    assert (back.array == volume.array).all()
    assert back.origin_mm == volume.origin_mm


@pytest.mark.slow
@given(volumes(largest=8), st.floats(0.3, 3), st.lists(st.floats(-1, 1), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_resampling_keeps_what_varies_linearly_where_it_is(volume, factor, plane):
    """A linear function of the place is interpolated exactly inside; at most half a voxel beyond, edges are kept."""
    indices = np.indices(volume.array.shape).reshape(3, -1).T
    offsets = (indices * volume.spacing_mm) @ np.asarray(volume.direction).T
    values = (offsets @ plane[:3] + plane[3]).reshape(volume.array.shape)
    spacing = tuple(factor * size for size in volume.spacing_mm)
    resampled = volume.like(values).resampled(spacing)
    assert np.allclose(resampled.spacing_mm, spacing)
    assert same_place(resampled.center_mm, volume.center_mm, within_mm=1e-5)
    extent = np.asarray(volume.array.shape) * volume.spacing_mm
    now = np.asarray(resampled.array.shape) * resampled.spacing_mm
    assert (np.abs(now - extent) <= np.maximum(np.asarray(spacing) / 2 + 1e-9, spacing - extent)).all()
    for index, value in np.ndenumerate(resampled.array):
        at = np.asarray(volume.to_index(resampled.to_physical(index)))
        nearest = np.clip(at, 0, np.asarray(volume.array.shape) - 1)
        expected = np.asarray(volume.direction) @ (nearest * volume.spacing_mm) @ plane[:3] + plane[3]
        assert abs(value - expected) < 1e-3, (at, value, expected)


def test_a_block_is_sampled_exactly_around_its_middle():
    voxels = np.zeros((40, 40, 40), np.float32)
    voxels[20:, :, :] = 100.0
    volume = Volume(array=voxels, spacing_mm=(0.7, 0.9, 1.1), origin_mm=(-14, 0, 5), direction=AXES)
    block = volume.cropped((0.3, 10.0, 20.0), (8, 6, 4), spacing_mm=0.5)
    assert block.array.shape == (8, 6, 4)
    assert same_place(block.center_mm, (0.3, 10.0, 20.0))
    assert block.array.dtype == np.float32
    assert volume.cropped((500.0, 0.0, 0.0), (2, 2, 2), spacing_mm=0.5, outside=-7).array.tolist() == [
        [[-7.0, -7.0], [-7.0, -7.0]],
        [[-7.0, -7.0], [-7.0, -7.0]],
    ]


def test_a_mask_stays_a_mask():
    volume = Volume(array=np.ones((3, 3, 3), bool), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=AXES)
    assert volume.resampled(0.5, interpolation="nearest").array.dtype == np.bool_
    assert volume.resampled(0.5, interpolation="nearest").array.all()


WHOLE = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def line(values, dtype, **change):
    """Lay values along i, 1 mm apart."""
    array = np.asarray(values, dtype).reshape(-1, 1, 1)
    place = {"spacing_mm": (1, 1, 1), "origin_mm": (0, 0, 0), "direction": AXES}
    return Volume(array=array, **place | change)


@pytest.mark.parametrize("dtype", WHOLE)
def test_between_two_whole_numbers_the_nearer_one_is_taken_and_half_way_the_even_one(dtype):
    finer = line([0, 1, 2, 3, 100], dtype).resampled((0.5, 1, 1))  # at -0.25, 0.25, 0.75, 1.25 and so on
    assert finer.array.dtype == dtype
    assert finer.array.ravel().tolist() == [0, 0, 1, 1, 2, 2, 3, 27, 76, 100]
    halves = line([0, 1, 2, 3], dtype).cropped((1.5, 0, 0), (3, 1, 1), spacing_mm=1)
    assert halves.array.ravel().tolist() == [0, 2, 2]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">i2", ">f4", "bool", *WHOLE])
@pytest.mark.parametrize("interpolation", ["linear", "nearest", "cubic"])
def test_sampling_keeps_the_type_of_the_voxels(kind, interpolation):
    dtype = np.dtype(kind)
    volume = line([0, 1, 1, 0, 1], dtype)
    assert volume.onto(volume, interpolation=interpolation).array.dtype == dtype
    assert np.allclose(volume.onto(volume, interpolation=interpolation).array, volume.array, atol=1e-6)


def test_where_most_of_a_mask_is_in_a_voxel_the_voxel_is_in_the_mask():
    assert line([1, 0, 1], bool).resampled((0.5, 1, 1)).array.ravel().tolist() == [True, True, False, False, True, True]


def test_a_curve_that_swings_over_leaves_the_type_at_its_end():
    swung = line([0, 0, 255, 255, 0, 0], "uint8").resampled((0.25, 1, 1), interpolation="cubic").array.ravel()
    exact = line([0, 0, 255, 255, 0, 0], float).resampled((0.25, 1, 1), interpolation="cubic").array.ravel()
    assert exact.min() < -5
    assert exact.max() > 260
    assert (swung == np.clip(np.rint(exact), 0, 255)).all()


@pytest.mark.parametrize("axis", range(3))
def test_splines_read_no_voxel_that_is_not_there_where_an_axis_has_two(axis):
    shape = [9, 9, 9]
    shape[axis] = 2
    array = np.full(shape, 1000.0, np.float32)
    volume = Volume(array=array, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=AXES)
    assert np.allclose(volume.resampled(0.4, interpolation="cubic").array, 1000, atol=1e-2)


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_the_largest_numbers_do_not_wrap(dtype):
    largest = np.iinfo(dtype).max
    assert line([largest] * 3, dtype).resampled((0.5, 1, 1)).array.min() > largest * 0.999


@pytest.mark.parametrize(
    ("dtype", "outside"),
    [
        *(("uint16", outside) for outside in (-1000, 65536, 0.5, np.nan, np.inf)),
        *(("int8", outside) for outside in (128, -129)),
        *(("bool", outside) for outside in (2, -1, 0.5)),
        *(("float16", outside) for outside in (1e5, -1e5)),
        ("float32", 1e39),
    ],
)
def test_a_value_outside_that_the_type_does_not_have_is_refused_in_each_way(dtype, outside):
    volume = line([0, 1], dtype)
    words = re.escape(f"outside: {outside} is no value of {dtype}, the type of the voxels.")
    for spacing_mm in (None, 1.0):
        with pytest.raises(ValueError, match=words):
            volume.cropped((0, 0, 0), (1, 1, 1), spacing_mm=spacing_mm, outside=outside)
    with pytest.raises(ValueError, match=words):
        volume.onto(volume, outside=outside)


@pytest.mark.parametrize(
    ("dtype", "outside"),
    [("uint16", 65535), ("int16", -1000.0), ("int16", np.int64(-7)), ("bool", True), ("float32", -np.inf)],
)
def test_a_value_outside_that_the_type_has_is_taken_in_each_way(dtype, outside):
    volume = line([0, 1], dtype)
    for spacing_mm in (None, 1.0):
        assert (volume.cropped((9, 9, 9), (1, 1, 1), spacing_mm=spacing_mm, outside=outside).array == outside).all()
    assert np.isnan(line([0, 1], float).cropped((9, 9, 9), (1, 1, 1), outside=np.nan).array).all()


@pytest.mark.parametrize("spacing_mm", [0, -1.0, np.nan, np.inf, (1, 0, 1), (1, 1), (1, 1, 1, 1)])
def test_a_spacing_that_is_none_is_refused_before_anything_is_computed(spacing_mm):
    volume = line([0, 1], float)
    words = re.escape(f"spacing_mm: {spacing_mm} must be more than 0 mm along each axis, and finite.")
    with pytest.raises(ValueError, match=words):
        volume.resampled(spacing_mm)
    with pytest.raises(ValueError, match=words):
        volume.cropped((0, 0, 0), (1, 1, 1), spacing_mm=spacing_mm)


@pytest.mark.parametrize("spacing_mm", [None, 1.0])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (0, 2, 2)}, "size: (0, 2, 2) must be three whole numbers of voxels"),
        ({"size": (-1, 2, 2)}, "size: (-1, 2, 2) must be three whole numbers"),
        ({"size": (2.9, 2, 2)}, "size: (2.9, 2, 2) must be three whole numbers"),
        ({"size": (np.nan, 2, 2)}, "size: (nan, 2, 2) must be three whole numbers"),
        ({"size": (np.inf, 2, 2)}, "size: (inf, 2, 2) must be three whole numbers"),
        ({"size": (2, 2)}, "size: (2, 2) must be three whole numbers"),
        ({"size": 2}, "size: 2 must be three whole numbers"),
        ({"center_mm": (np.nan, 0, 0)}, "center_mm: (nan, 0, 0) must be three finite numbers"),
        ({"center_mm": (0, 0)}, "center_mm: (0, 0) must be three finite numbers"),
        ({"interpolation": "typo"}, "interpolation: 'typo' is none of linear, nearest, cubic."),
    ],
)
def test_a_block_that_is_none_is_refused_in_each_way(change, words, spacing_mm):
    asked = {"center_mm": (0, 0, 0), "size": (1, 1, 1), "spacing_mm": spacing_mm} | change
    with pytest.raises(ValueError, match=re.escape(words)):
        line([0, 1], float).cropped(**asked)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_a_tensor_of_any_type_makes_a_volume(dtype):
    tensor = torch.tensor([0.0, 1.0]).reshape(2, 1, 1).to(dtype).requires_grad_(dtype.is_floating_point)
    made = line([0, 0], float).like(tensor)
    assert made.array.ravel().tolist() == [0, 1]
    assert (made.array.dtype == np.float32) is (dtype == torch.bfloat16)


@pytest.mark.parametrize(
    "dtype", [bool, np.uint8, np.int16, ">i2", np.uint16, np.int32, np.uint32, np.float16, np.float32]
)
def test_voxels_that_the_device_puts_in_order_are_those_that_numpy_puts_in_order(dtype):
    """As on a GPU, tried on the CPU."""
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    for lying in (array, np.asfortranarray(array), array[::-1, :, ::-1], array.transpose(1, 0, 2)):
        tensor = moved(lying, "cpu")
        assert tensor.is_contiguous()
        assert tensor.dtype == torch.float32
        assert np.array_equal(tensor.numpy(), lying.astype(np.float32))


def test_a_tensor_of_another_device_comes_back_in_a_files_order():
    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")

    tensor = torch.arange(60).reshape(3, 4, 5)
    array = voxels_of(tensor.as_subclass(Elsewhere))
    assert array.flags.f_contiguous
    assert np.array_equal(array, tensor.numpy())


def test_numbers_that_no_image_has_are_refused_with_the_rule():
    with pytest.raises(TypeError, match="use integers or floats of at most 64 bits"):
        line([0, 1], np.longdouble).resampled(1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"array": np.zeros((2, 2))}, "has 2 axes; a volume has three"),
        ({"spacing_mm": (1, 0, 1)}, "must be more than 0 mm"),
        ({"spacing_mm": (1, np.inf, 1)}, "must be more than 0 mm along each axis, and finite"),
        ({"spacing_mm": (1, 1)}, "must be more than 0 mm along each axis"),
        ({"origin_mm": (np.nan, 0, 0)}, "origin_mm: .nan, 0, 0. must be three finite numbers"),
        ({"origin_mm": (0, -np.inf, 0)}, "must be three finite numbers"),
        ({"direction": ((1, 0.1, 0), (0, 1, 0), (0, 0, 1))}, "not at right angles"),
        ({"direction": ((2, 0, 0), (0, 1, 0), (0, 0, 1))}, "not at right angles"),
        ({"direction": ((1, 0), (0, 1))}, "not at right angles"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_rule(change, words):
    good = {"array": np.zeros((2, 2, 2)), "spacing_mm": (1, 1, 1), "origin_mm": (0, 0, 0), "direction": AXES}
    with pytest.raises(ValueError, match=words):
        Volume(**good | change)


@pytest.mark.parametrize("orientation", ["", "RA", "RAA", "XYZ", "RASL", "ras"])
def test_what_is_no_orientation_is_refused(orientation):
    volume = Volume(array=np.zeros((2, 2, 2)), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=AXES)
    with pytest.raises(ValueError, match="orientation"):
        volume.reoriented(orientation)


@pytest.mark.parametrize("name", [name for name in vars(Volume) if not name.startswith("_") and vars(Volume)[name]])
def test_every_method_says_its_axis_order_and_has_an_example(name):
    text = vars(Volume)[name].__doc__ or ""
    assert re.search(r"\bi, j,? (and )?k\b", text), name
    assert ">>>" in text, name


def test_an_unknown_interpolation_is_refused():
    volume = Volume(array=np.zeros((2, 2, 2)), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=AXES)
    with pytest.raises(ValueError, match="'sinc' is none of linear, nearest, cubic"):
        volume.resampled(2.0, interpolation="sinc")


def test_a_volume_that_was_made_of_a_series_is_not_the_series():
    sent = Volume(
        array=np.zeros((2, 2, 2)),
        spacing_mm=(1, 1, 1),
        origin_mm=(0, 0, 0),
        direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        dicom=DicomSource(headers=({}, {})),
    )
    block = sent.cropped((0, 0, 0), (1, 1, 1))
    for made in (sent.like(sent.array), block, block.onto(sent), sent.reoriented("LPS"), sent.resampled(0.5)):
        assert made.dicom is None
