"""The images of a DICOM series become one volume, or a refusal with numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.series import arrange
from tomaat.reader.slice import Slice

FIRST = Slice(
    number=0,
    series="1.2.3",
    description="T1 sagittal",
    modality="MR",
    columns=64,
    rows=48,
    frames=1,
    samples=1,
    dtype="int16",
    position_mm=(0.0, 0.0, 0.0),
    axes=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    spacing_mm=(0.5, 0.75),
    thickness_mm=2.0,
)


def stack(depths, **changes):
    return [
        replace(FIRST, number=number, position_mm=(10.0, -20.0, depth), **changes)
        for number, depth in enumerate(depths)
    ]


def test_slices_are_sorted_along_their_normal_whatever_their_order():
    series = arrange(stack([6.0, 0.0, 4.0, 2.0]))
    assert series.order == (1, 3, 2, 0)
    assert series.dimensions == (64, 48, 4)
    assert series.spacing_mm == (0.5, 0.75, 2.0)
    assert series.origin_mm == (10.0, -20.0, 0.0)
    assert series.direction == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@given(
    st.tuples(*[st.floats(-math.pi, math.pi)] * 3),
    st.floats(0.3, 8),
    st.integers(2, 40),
    st.tuples(*[st.floats(-2000, 2000)] * 3),
    st.randoms(),
)
def test_an_oblique_stack_lies_where_its_slices_do(angles, spacing_mm, count, origin, chosen):
    a, b, c = angles
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    turn = turn @ np.array([[math.cos(c), 0, math.sin(c)], [0, 1, 0], [-math.sin(c), 0, math.cos(c)]])
    slices = [
        replace(
            FIRST,
            number=number,
            axes=(*turn[:, 0], *turn[:, 1]),
            position_mm=tuple(np.round(np.asarray(origin) + number * spacing_mm * turn[:, 2], 4)),
        )
        for number in range(count)
    ]
    chosen.shuffle(slices)
    series = arrange(slices)
    assert series.order == tuple(range(count))
    for number in (0, count - 1):
        place = np.asarray(series.origin_mm) + np.asarray(series.direction) @ [0, 0, number * series.spacing_mm[2]]
        assert np.allclose(place, np.asarray(origin) + number * spacing_mm * turn[:, 2], atol=0.01)


def test_one_slice_is_as_thick_as_it_says():
    assert arrange(stack([5.0])).spacing_mm == (0.5, 0.75, 2.0)


def test_images_of_different_types_become_float():
    slices = stack([0.0, 1.0])
    assert arrange([slices[0], replace(slices[1], dtype="float64")]).dtype == "float32"


def test_of_several_series_one_can_be_chosen():
    both = stack([0.0, 1.0]) + stack([0.0, 2.0], series="9.8", description="T2")
    assert arrange(both, wanted="9.8").spacing_mm[2] == 2.0


SEVERAL = stack([0.0, 1.0]) + stack([0.0], series="9.8", description="scout", modality="CT")


@pytest.mark.parametrize(
    ("slices", "code", "words"),
    [
        ([], "no-dicom", "No DICOM image"),
        (
            SEVERAL,
            "several-series",
            "2 series were sent: 1.2.3 (MR 'T1 sagittal', 2 images); 9.8 (CT 'scout', 1 images). Send one of them, or "
            'choose one in main.json: {"inputs": {"<id>": {"series": "<its UID>"}}}.',
        ),
        (stack([0, 1], samples=3), "colour", "3 samples per pixel"),
        (stack([0, 1], frames=60), "multi-frame", "60 frames"),
        (stack([0, 1], rows=0), "no-pixels", "no pixels"),
        ([replace(FIRST, position_mm=None)], "no-geometry", "does not say"),
        ([FIRST, replace(FIRST, number=1, position_mm=(0, 0, 1.7e308))], "place", "is more than 1e+06 mm away"),
        ([replace(FIRST, axes=None)], "no-geometry", "does not say where it lies"),
        ([replace(FIRST, axes=(1, 0, 0, 0.5, 1, 0))], "direction", "not at right angles"),
        (
            [*stack([0]), replace(FIRST, number=1, position_mm=(10.0, -20.0, 2.0), columns=32)],
            "different-sizes",
            "2 (by name, or as a zip archive has them): it has 32 x 48 pixels, and DICOM file number 1 ",
        ),
        ([*stack([0]), replace(FIRST, axes=(0, 1, 0, 1, 0, 0))], "different-directions", "no one stack"),
        (
            [*stack([0]), replace(FIRST, number=1, position_mm=(10.0, -20.0, 2.0), spacing_mm=(0.5, 0.8))],
            "different-spacing",
            "(0.5, 0.75) and, in DICOM file number 2 ",
        ),
        ([replace(FIRST, thickness_mm=None)], "no-thickness", "how thick"),
        (stack([0, 2, 4, 4, 6]), "doubled-slices", "at (10.00, -20.00, 4.00) mm"),
        (stack([0, 2, 4, 8, 10, 14, 16]), "missing-slices", "2 slices are missing, at 6.00, 12.00 mm"),
        (stack([0, 2, 4, 10, 12]), "missing-slices", "2 slices are missing, at 6.00 mm"),
        (stack([0, 2, 4, 7, 9]), "uneven-spacing", "2 to 3 mm apart"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_numbers(slices, code, words):
    for resampled in (False, True)[: 1 if code == "uneven-spacing" else 2]:
        with pytest.raises(VolumeRefused) as refusal:
            arrange(slices, resampled=resampled)
        assert refusal.value.code == code
        assert words in refusal.value.detail


def test_a_slice_beside_the_stack_is_refused():
    slices = stack(range(5))
    slices[2] = replace(slices[2], position_mm=(10.0, -17.0, 2.0))
    with pytest.raises(VolumeRefused, match=r"lies 3\.00 mm beside the stack; at most 0\.1 of a voxel is taken"):
        arrange(slices)


def test_gaps_that_grow_slowly_are_noticed():
    depths = np.cumsum([0, *[5.09] * 30, *[4.91] * 30])
    with pytest.raises(VolumeRefused, match=r"archive has them\) \(at 152\.70 mm\) lies 0\.27 voxels from its place"):
        arrange(stack(depths.tolist()), resampled=False)


def test_axes_of_three_decimals_are_made_exact():
    direction = np.asarray(arrange(stack([0, 1], axes=(0.707, 0.707, 0, -0.707, 0.707, 0))).direction)
    assert np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("degrees", "words"), [(15, "15.0"), (-7, "7.0"), (0.4, "0.4")])
def test_a_tilted_gantry_is_noticed_with_its_angle(degrees, words):
    slices = [
        replace(one, position_mm=(0.0, n * 2 * math.tan(math.radians(degrees)), n * 2.0))
        for n, one in enumerate(stack(range(40)))
    ]
    with pytest.raises(VolumeRefused, match=f"tilted by {words} degrees"):
        arrange(slices, resampled=False)


def test_a_series_that_was_not_sent_cannot_be_chosen():
    with pytest.raises(VolumeRefused, match=r"'7' was not sent; there are: 1\.2\.3"):
        arrange(stack([0.0]), wanted="7")


@pytest.mark.parametrize(
    ("slices", "moved"),
    [
        (stack([round(0.625 * k + 1e-9, 1) for k in range(40)]), "0.064"),
        ([replace(one, spacing_mm=(0.5 + 1e-3 * (one.number % 2), 0.75)) for one in stack(range(6))], "0.063"),
        ([replace(one, axes=(1.0, 0.001, 0.0, 0.0, 1.0, 0.0)) for one in stack(range(6))], "0.02 "),
    ],
)
def test_what_rounding_left_is_put_on_the_nearest_grid_and_told_with_the_number(slices, moved):
    series = arrange(slices)
    assert [one.code for one in series.remarks] == ["made-square"]
    assert f"moved by {moved}" in series.remarks[0].detail
    direction = np.asarray(series.direction)
    assert np.allclose(direction.T @ direction, np.eye(3), rtol=0, atol=1e-12)
    for k, number in enumerate(series.order):  # by each image's own words, computed once more
        one = slices[number]
        for i, j in [(0, 0), (63, 0), (0, 47), (63, 47)]:
            own = np.asarray(one.position_mm) + np.asarray(one.axes[:3]) * one.spacing_mm[0] * i
            own = own + np.asarray(one.axes[3:]) * one.spacing_mm[1] * j
            index = np.linalg.solve(direction * series.spacing_mm, own - series.origin_mm)
            assert np.linalg.norm(index - (i, j, k)) <= 0.1
