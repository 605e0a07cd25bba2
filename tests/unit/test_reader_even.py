"""Images that are tilted or unevenly spaced come to lie on an even grid, held against other interpolators."""

import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from Inputs import VolumeInput
from tests.unit.test_reader_series import stack
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.even import onto_even
from tomaat.reader.series import arrange
from tomaat.reader.stack import grid_of

COLUMNS, ROWS = 20, 16
SPACING = (0.5, 0.75)
PLAIN = np.eye(3)
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
TURN[:, 2] = np.cross(TURN[:, 0], TURN[:, 1])


def placed(depths, tilt=0.0, turn=PLAIN):
    """Make the images of a scan at ``depths`` (mm), moved along j by ``tilt`` degrees, turned as a whole."""
    beside = math.tan(math.radians(tilt))
    slices = stack(range(len(depths)), columns=COLUMNS, rows=ROWS, spacing_mm=SPACING, axes=(*turn[:, 0], *turn[:, 1]))
    places = [turn @ (10, -20 + depth * beside, depth) for depth in depths]
    return [replace(one, position_mm=tuple(place)) for one, place in zip(slices, places, strict=True)]


def images(slices, value, dtype=np.float64):
    """Ask each pixel's value of its place, as pydicom would have it: position, orientation and spacing alone."""
    made = np.empty((len(slices), ROWS, COLUMNS), dtype)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    for one, image in zip(slices, made, strict=True):
        axes = np.reshape(one.axes, (2, 3))
        along = columns[..., None] * one.spacing_mm[0] * axes[0] + rows[..., None] * one.spacing_mm[1] * axes[1]
        image[:] = value(*np.moveaxis(np.asarray(one.position_mm) + along, -1, 0))
    return made


def resampled(slices, pixels):
    """Give the volume (i, j, k), and where each voxel lies."""
    series = arrange(slices)
    volume = onto_even(pixels, series.places, series.dimensions).T
    index = np.stack(np.meshgrid(*map(np.arange, series.dimensions), indexing="ij"), axis=-1)
    places = (index * series.spacing_mm) @ np.asarray(series.direction).T + series.origin_mm
    return series, volume, places


def field(x, y, z):
    return 3 * x - 2 * y + 5 * z + 900


HEAD = [*np.arange(0, 20, 2.5), *np.arange(20, 41, 5.0)]  #: thin slices at the base, thick ones above
CASES = {
    "uneven": (HEAD, 0, (20, 16, 17), 2.5),
    "uneven, no whole number": ([*np.arange(0, 19, 3.0), 23, 28, 33, 38], 0, (20, 16, 14), 38 / 13),
    "tilted": (np.arange(12) * 2.0, 13.5, (20, 24, 12), 2.0),
    "tilted the other way": (np.arange(12) * 2.0, -20, (20, 27, 12), 2.0),
    "tilted and uneven": (HEAD, 13.5, (20, 29, 17), 2.5),
}


@pytest.mark.parametrize("turn", [PLAIN, TURN], ids=["plain", "oblique"])
@pytest.mark.parametrize("case", CASES)
def test_a_field_that_is_straight_in_space_is_so_on_the_even_grid(case, turn):
    depths, tilt, dimensions, step = CASES[case]
    slices = placed(depths, tilt, turn)
    series, volume, places = resampled(slices, images(slices, field))
    assert series.dimensions == dimensions
    assert series.spacing_mm == pytest.approx((*SPACING, step))
    inside = volume != volume.min()
    assert inside.sum() > 0.9 * COLUMNS * ROWS * dimensions[2]
    off = np.abs(volume - field(*np.moveaxis(places, -1, 0)))[inside]
    assert off.max() <= 0.01 * (3 * 0.5 + 2 * 0.75 + 5 * step)  # of a voxel: as near a place counts as a voxel's own
    assert [one.code for one in series.remarks] == ["resampled"]


def test_a_tilted_stack_is_interpolated_as_itk_does_it():
    """ITK takes no tilted image, but an affine way from a grid to another image's indices."""
    slices = placed(np.arange(9) * 2.0, 11.3)
    pixels = np.random.default_rng(1).normal(size=(9, ROWS, COLUMNS)).astype(np.float32)
    series, volume, _ = resampled(slices, pixels)
    way = sitk.AffineTransform(3)
    way.SetMatrix((1, 0, 0, 0, 1, -2 * math.tan(math.radians(11.3)) / 0.75, 0, 0, 1))
    sent = sitk.GetImageFromArray(pixels)
    made = sitk.Resample(sent, series.dimensions, way, sitk.sitkLinear, (0, 0, 0), (1, 1, 1))
    theirs = sitk.GetArrayFromImage(made).T
    inside = volume != volume.min()
    assert np.abs(volume - theirs)[inside].max() <= 0.05  # a place counts as a voxel's own within a hundredth of it


def test_between_uneven_slices_values_are_those_of_numpys_interpolation():
    depths = [0, 2.1, 3.9, 6.5, 8.3, 11.3]
    pixels = np.random.default_rng(2).integers(-1000, 3000, (6, ROWS, COLUMNS)).astype(np.int16)
    series, volume, places = resampled(placed(depths), pixels)
    assert volume.dtype == np.int16
    assert series.spacing_mm[2] == pytest.approx(11.3 / 7)
    for i, j in [(0, 0), (7, 3), (19, 15)]:
        theirs = np.interp(places[i, j, :, 2], depths, pixels[:, j, i])
        assert np.abs(volume[i, j] - theirs).max() <= 0.5 + 0.01 * np.ptp(pixels[:, j, i])


def test_slices_that_lie_on_the_grid_keep_each_value():
    pixels = np.random.default_rng(4).integers(0, 4000, (len(HEAD), ROWS, COLUMNS)).astype(np.uint16)
    _, volume, _ = resampled(placed(HEAD), pixels)
    assert np.array_equal(volume[:, :, [round(depth / 2.5) for depth in HEAD]].T, pixels)


def test_outside_of_the_images_is_their_smallest_value_and_no_number_spreads():
    pixels = np.full((9, ROWS, COLUMNS), 40.0)
    pixels[4, 3, 5] = np.nan
    pixels[0, 0, 0] = -1000
    _, volume, _ = resampled(placed(np.arange(9) * 2.0, 30), pixels)
    assert volume[0, -1, 0] == -1000
    assert np.isnan(volume).sum() == 2  # the two between which it lies now
    assert np.nanmax(volume) == 40


@given(
    st.lists(st.floats(1.5, 2.6), min_size=3, max_size=10),  # none is wide enough for a hole
    st.floats(-15, 15),
    st.integers(0, 2**32 - 1),
)
def test_each_pixel_lies_within_the_grid_where_its_own_image_has_it(gaps, tilt, seed):
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    turn[:, 2] = np.cross(turn[:, 0], turn[:, 1])
    depths = np.cumsum([0, *gaps])
    series = arrange(placed(depths, tilt, turn))
    for number, place in zip(series.order, series.places, strict=bool(series.places)):
        one = placed(depths, tilt, turn)[number]
        index = np.linalg.solve(np.asarray(series.direction), np.subtract(one.position_mm, series.origin_mm))
        assert np.abs(index / series.spacing_mm - place).max() <= 0.1
        last = np.add(place, (COLUMNS - 1, ROWS - 1, 0))
        assert min(place) >= 0
        assert (last <= np.asarray(series.dimensions) - 1 + 1e-9).all()


@pytest.mark.parametrize(
    ("depths", "tilt", "words"),
    [
        (HEAD, 0, "The slices are 2.5 to 5 mm apart: 13 images of 20 x 16 pixels. They were put on an even grid of "),
        (np.arange(12) * 2.0, 13.5, "The slices are tilted by 13.5 degrees against the stack: 12 images of 20 x 16 "),
        (HEAD, 13.5, "The slices are tilted by 13.5 degrees against the stack and 2.5 to 5 mm apart: 13 images of "),
    ],
)
def test_what_was_done_is_told_with_the_numbers(depths, tilt, words):
    (remark,) = arrange(placed(depths, tilt)).remarks
    assert remark.detail.startswith(words)
    assert ("outside of the images" in remark.detail) == bool(tilt)
    with pytest.raises(VolumeRefused) as refusal:
        arrange(placed(depths, tilt), resampled=False)
    assert refusal.value.code == ("gantry-tilt" if tilt else "uneven-spacing")
    assert "In 3D Slicer" in refusal.value.detail


@pytest.mark.parametrize(
    ("number", "changes", "code"),
    [
        (4, {"position_mm": (11.0, -20.0, 10.0)}, "crooked-stack"),
        (2, {"axes": (math.cos(0.1), math.sin(0.1), 0, -math.sin(0.1), math.cos(0.1), 0)}, "different-directions"),
        (7, {"spacing_mm": (0.55, 0.75)}, "different-spacing"),
    ],
)
def test_an_image_that_does_not_lie_as_the_others_do_is_refused(number, changes, code):
    slices = placed(HEAD)
    slices[number] = replace(slices[number], **changes)
    with pytest.raises(VolumeRefused) as refusal:
        arrange(slices)
    assert refusal.value.code == code


def test_one_image_whose_axes_are_off_is_not_resampled():
    with pytest.raises(VolumeRefused, match="rows and columns are not at right angles"):
        arrange(stack([0], axes=(1, 0.04, 0, 0, 1, 0)))


def test_images_at_one_depth_are_no_stack():
    """They may be told apart by something, and have places of their own along another image's normal."""
    with pytest.raises(VolumeRefused, match=r"^Images lie at one depth of the stack: .* \(at 4\.00 mm\) and .*"):
        grid_of(stack([0, 4, 4, 4, 4, 8]))


@pytest.mark.parametrize(
    ("depths", "tilt", "code"),
    [
        ([0, 2, 4, 4.1, 6, 8, 10], 0, "uneven-spacing"),  # twenty times as many slices
        (np.arange(100) * 5.0, 60, "gantry-tilt"),
    ],
)
def test_a_grid_of_far_more_voxels_than_were_sent_is_not_made(depths, tilt, code):
    with pytest.raises(VolumeRefused) as refusal:
        arrange(placed(depths, tilt))
    assert refusal.value.code == code


def test_a_grid_of_more_slices_than_a_series_may_have_is_not_made():
    depths = np.cumsum([0, *[0.3] * 3000, *[1.0] * 1000])
    with pytest.raises(VolumeRefused, match=r"On an even grid the volume would have 6335 slices; at most 5000"):
        arrange(placed(depths))


def test_a_limit_of_spacing_is_not_met_by_interpolation():
    scan = VolumeInput("scan", "Head CT", spacing_mm=(0.3, 3))
    with pytest.raises(VolumeRefused) as refusal:
        scan.demand(arrange(placed(HEAD)).header)
    assert refusal.value.code == "spacing"
    rule = "the series has 5 mm between two of its slices; at most 3 mm is taken, before it is put on an even grid"
    assert refusal.value.detail == f"spacing: {rule}."
    VolumeInput("scan", "Head CT", spacing_mm=(0.3, 5)).demand(arrange(placed(HEAD)).header)
    scan.demand(arrange(placed(np.arange(12) * 3.0, 13.5)).header)
    assert arrange(placed(np.arange(12) * 2.0)).header.largest_gap_mm is None


@pytest.mark.parametrize("tilt", [0, 9.5])
@pytest.mark.parametrize("step", [0.25, 0.33, 0.35, 0.55])
def test_an_even_stack_whose_depths_are_rounded_keeps_its_slices_and_their_distance(step, tilt):
    depths = (step * np.arange(60)).round(1)
    slices = placed(depths, tilt)
    series = arrange(slices)
    assert series.dimensions[2] == 60
    assert series.spacing_mm[2] == pytest.approx(step, abs=0.001)
    assert [one.code for one in series.remarks] == (["resampled"] if tilt else ["made-square"])
    first = np.subtract(slices[0].position_mm, series.origin_mm) @ np.asarray(series.direction)
    assert abs(first[2]) <= 0.07
    assert arrange(slices, resampled=bool(tilt)).dimensions[2] == 60


def test_slices_that_are_thinner_than_rounding_are_no_even_stack():
    depths = np.cumsum([0, *[0.1] * 4, *[0.15] * 4])
    assert arrange(placed(depths)).places


def test_a_stack_that_is_even_is_left_alone():
    assert arrange(placed(np.arange(12) * 2.0)).places == ()
