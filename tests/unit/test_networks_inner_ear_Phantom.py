"""The phantoms of inner ears: their anatomy against what is published, their images against physics."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from networks.inner_ear import imaging
from networks.inner_ear.Phantom import Phantom, grow
from networks.inner_ear.Tube import Tube, shares
from tomaat.volumes import Volume

SEEDS = [(9, number) for number in range(12)]  #: apart from those of training, validation, evaluation
STRAIGHT = np.eye(4)


def around(phantom: Phantom, spacing_mm=(0.25, 0.25, 0.25), size_mm=22.0, direction=imaging.STRAIGHT) -> Volume:
    return imaging.grid_around(phantom.middle_mm, np.full(3, size_mm), np.array(spacing_mm), direction)


def ml(share: np.ndarray, grid: Volume) -> float:
    return float(share.sum()) * grid.voxel_ml


def axis_of(phantom: Phantom) -> np.ndarray:
    """The cochlea's axis, to the apex: what the canal winds around, from its points alone."""
    points = phantom.spiral.points_mm
    middle = points[len(points) // 2 :].mean(axis=0)
    swept = np.cross(points[:-1] - middle, np.diff(points, axis=0)).sum(axis=0)
    swept /= np.linalg.norm(swept)
    return swept * np.sign(swept @ (points[-1] - points[0]))


def wound(phantom: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """How far the cochlea has turned at each point, in turns, right-handed about its axis; how far that is away."""
    axis = axis_of(phantom)
    flat = phantom.spiral.points_mm - np.outer(phantom.spiral.points_mm @ axis, axis)
    flat = flat - flat[-int(len(flat) * 0.22) :].mean(axis=0)  # the middle of the last turn
    first = flat[0] / np.linalg.norm(flat[0])
    angles = np.unwrap(np.arctan2(flat @ np.cross(axis, first), flat @ first))
    return angles / (2 * np.pi), np.linalg.norm(flat, axis=1)


def test_the_same_seed_grows_the_same_phantom_and_another_seed_another():
    one, same, other = grow(7), grow(7), grow(8)
    assert all(
        np.array_equal(a.points_mm, b.points_mm) and np.array_equal(a.radii_mm, b.radii_mm)
        for a, b in zip(one.labyrinth, same.labyrinth, strict=True)
    )
    assert one.turns != other.turns


def test_left_and_right_phantoms_are_as_frequent_and_both_come():
    sides = [grow((9, number)).left for number in range(100)]
    assert 30 < sum(sides) < 70


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cochlea_has_two_and_a_half_turns_and_its_published_size(seed):
    phantom = grow(seed)
    turns, from_axis = wound(phantom)
    assert abs(abs(turns[-1]) - phantom.turns) < 0.2
    assert 2.25 <= phantom.turns <= 2.75
    half_a_turn = np.searchsorted(np.abs(turns), 0.5)
    across = from_axis[0] + from_axis[half_a_turn] + phantom.spiral.radii_mm[0] + phantom.spiral.radii_mm[half_a_turn]
    assert 7.8 < across < 10.2, "the basal turn is about 9 mm long"
    along = phantom.spiral.points_mm @ axis_of(phantom)
    assert 3.5 < np.ptp(along) + phantom.spiral.radii_mm[0] + phantom.spiral.radii_mm[-1] < 6.0, (
        "5 mm from base to apex"
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_ear_is_a_left_ones_mirror_and_all_lies_where_anatomy_has_it(seed):
    phantom = grow(seed)
    lateral = 1 if phantom.left else -1
    anterior_canal, posterior_canal, lateral_canal = (tube.points_mm for tube in phantom.labyrinth[4:7])
    assert (lateral_canal[:, 0] * lateral).max() > (anterior_canal[:, 0] * lateral).max()
    assert anterior_canal[:, 2].max() > max(posterior_canal[:, 2].max(), lateral_canal[:, 2].max())
    assert posterior_canal[:, 1].max() > max(anterior_canal[:, 1].max(), lateral_canal[:, 1].max())
    assert phantom.spiral.points_mm[:, 1].max() < posterior_canal[:, 1].min()
    assert (phantom.auditory_canal.points_mm[-1, 0] * lateral) < -10
    apex = axis_of(phantom)
    assert apex[0] * lateral > 0.3, "the apex points to lateral"
    assert apex[1] < -0.4, "and forward"
    assert wound(phantom)[0][-1] * lateral < 0, "left and right ones wind in opposite senses"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_labyrinth_is_one_piece_of_a_plausible_volume(seed):
    phantom = grow(seed)
    grid = around(phantom)
    share = phantom.share(grid, STRAIGHT)
    assert 0.13 < ml(share, grid) < 0.3
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray((share > 0.5).astype(np.uint8))))
    assert parts.max() == 1
    low, high = (edge(np.argwhere(share > 0.5), axis=0) for edge in (np.min, np.max))
    assert np.allclose(np.asarray(grid.to_physical((low + high) / 2)), phantom.middle_mm, atol=0.3)


def test_the_mean_volume_is_near_what_mri_measures():
    volumes = []
    for number in range(30):
        phantom = grow((9, number))
        grid = around(phantom, (0.4, 0.4, 0.4))
        volumes.append(ml(phantom.share(grid, STRAIGHT), grid))
    assert 0.18 < np.mean(volumes) < 0.25
    assert np.std(volumes) > 0.01, "people differ"


@pytest.mark.parametrize("spacing_mm", [(0.3, 0.3, 0.3), (0.5, 0.5, 0.5), (0.8, 0.8, 0.8), (0.3, 0.45, 0.8)])
def test_a_grid_of_any_spacing_and_direction_holds_the_same_volume(spacing_mm):
    phantom = grow(4)
    fine = around(phantom, (0.12, 0.12, 0.12))
    wanted = ml(phantom.share(fine, STRAIGHT), fine)
    turned = imaging.rotation(np.random.default_rng(1), 90.0) @ np.eye(3)[[2, 0, 1]]
    grid = around(phantom, spacing_mm, direction=turned)
    assert ml(phantom.share(grid, STRAIGHT), grid) == pytest.approx(wanted, rel=0.02)


def test_a_voxels_share_is_the_share_of_it_that_a_ball_fills():
    ball = Tube(points_mm=np.array([[0.1, -0.2, 0.3]]), radii_mm=np.array([2.0]))
    grid = imaging.grid_around(np.zeros(3), np.full(3, 6.0), np.array([0.5, 0.8, 0.3]))
    share, wider = shares([ball], grid, STRAIGHT, (0.0, 1.0))
    random = np.random.default_rng(0)
    points = random.uniform(-0.5, 0.5, (4000, 3))
    for index in ((6, 3, 4), (2, 3, 10), (8, 4, 15), (0, 0, 0)):
        at = np.array([grid.to_physical(np.array(index) + offset) for offset in points])
        expected = (np.linalg.norm(at - ball.points_mm, axis=1) < 2.0).mean()
        assert share[index] == pytest.approx(expected, abs=0.06)
    assert share.sum() * grid.voxel_ml == pytest.approx(4 / 3 * np.pi * 8 / 1000, rel=0.01)
    assert wider.sum() > share.sum() * 2.5


def test_a_phantom_is_posed_in_the_patient_and_the_grid_shows_it_there():
    phantom = grow(5)
    pose = np.eye(4)
    pose[:3, :3] = imaging.rotation(np.random.default_rng(3), 20.0)
    pose[:3, 3] = (30.0, -50.0, 80.0)
    middle = pose[:3, :3] @ phantom.middle_mm + pose[:3, 3]
    grid = imaging.grid_around(middle, np.full(3, 24.0), np.full(3, 0.5))
    found = np.argwhere(phantom.share(grid, pose) > 0.5)
    assert np.linalg.norm(np.asarray(grid.to_physical(found.mean(axis=0))) - middle) < 2.0


def test_an_image_shows_fluid_bright_bone_dark_and_bone_between_the_ear_and_the_auditory_canal():
    phantom = grow(6)
    grid = around(phantom, (0.4, 0.4, 0.4), 40.0)
    scan = imaging.Scan(grid=grid, pose=STRAIGHT, noise=0.01)
    voxels = imaging.take(phantom, scan, np.random.default_rng(1)).array
    ear, wall = shares(phantom.labyrinth, grid, STRAIGHT, (-0.3, 0.9))
    (canal,) = shares([phantom.auditory_canal], grid, STRAIGHT)
    ring = (wall > 0.9) & (shares(phantom.labyrinth, grid, STRAIGHT, (0.3,))[0] == 0)
    fluid = np.median(voxels[ear > 0.95])
    assert np.median(voxels[ring]) < 0.25 * fluid
    assert np.median(voxels[(canal > 0.95) & (wall == 0)]) > 0.5 * fluid
    assert ((canal > 0.5) & (wall < 0.1)).sum() * grid.voxel_ml > 0.05


def test_bone_parts_the_ear_from_an_auditory_canal_that_would_touch_it():
    grown = grow(6)
    nearer = grown.auditory_canal.points_mm + (grown.middle_mm - grown.auditory_canal.points_mm[0])
    phantom = replace(grown, auditory_canal=replace(grown.auditory_canal, points_mm=nearer), nerves=grown.nerves[:1])
    grid = around(phantom)
    ear, wall, beyond = shares(phantom.labyrinth, grid, STRAIGHT, (0.0, phantom.wall_mm, 1.2))
    (canal,) = shares([phantom.auditory_canal], grid, STRAIGHT)
    others = shares([*phantom.nerves, phantom.duct], grid, STRAIGHT)[0]
    picture = np.zeros(grid.array.shape, np.float32)
    scan = imaging.Scan(grid=grid, pose=STRAIGHT, noise=0.0)
    imaging.draw_ear(picture, phantom, scan, np.random.default_rng(1), fluid=True)
    bone = (canal > 0.99) & (wall > 0.99) & (ear == 0) & (others == 0)
    assert bone.sum() > 100, "else nothing would touch"
    assert picture[bone].max() < 0.2
    assert picture[(canal > 0.99) & (beyond == 0) & (others == 0)].min() > 0.5


def test_noise_is_rician_and_as_strong_as_asked():
    random = np.random.default_rng(2)
    noisy = imaging.imaged(np.zeros((40, 40, 40), np.float32), 0.1, random)
    assert noisy.mean() / noisy.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.02), "Rayleigh, where dark"


def test_a_moving_patient_blurs_along_one_axis_and_keeps_the_sum():
    picture = np.zeros((8, 64, 8), np.float32)
    picture[4, 30:34, 4] = 1
    shifted = imaging.moved(picture, np.random.default_rng(3))
    assert shifted.sum() == pytest.approx(picture.sum(), rel=1e-4)
    assert np.abs(shifted - picture).max() > 0.01
    assert np.abs(np.delete(shifted, 4, axis=0)).max() < 1e-5


@pytest.mark.parametrize("kind", imaging.EMPTY)
def test_an_image_without_an_inner_ear_is_made_for_each_kind(kind):
    grid = imaging.grid_around(np.zeros(3), np.array([20.0, 18.0, 16.0]), np.full(3, 0.6))
    scan = imaging.Scan(grid=grid, pose=STRAIGHT, noise=0.03)
    one, same = (imaging.take_empty(kind, scan, np.random.default_rng(4)).array for _ in range(2))
    assert one.shape == grid.array.shape
    assert one.std() > 0
    assert np.array_equal(one, same)
