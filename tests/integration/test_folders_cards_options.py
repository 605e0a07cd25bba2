"""What a card may ask for beside the network: mirroring, a crop, an outline, any order of axes, whole parts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from tests.integration.card_folders import CARD, PLACES, a_folder, a_network, files, loaded, sent
from tomaat.reader import VolumeReader
from tomaat.services import TaskRefused
from tomaat.services.__main__ import main
from tomaat.services.folders import card_task, telling
from tomaat.services.folders.card_memory import CardBytes
from tomaat.services.folders.card_reading import read_card
from tomaat.services.folders.nonzero import box_of


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=1024**3)
    yield made
    made.close()


@pytest.fixture
def volumes(tmp_path, reader):
    return sent(files(tmp_path, PLACES["oblique, turned, flipped, anisotropic"]), reader)


class EachWay(nn.Module):
    """Asks a network about its input mirrored along each choice of axes, and gives the mean, mirrored back."""

    def __init__(self, network, dimensions):
        super().__init__()
        self.network = network
        self.ways = [list(way) for n in range(1, 4) for way in itertools.combinations(dimensions, n)]

    def forward(self, voxels):
        total = self.network(voxels)
        for way in self.ways:
            total = total + torch.flip(self.network(torch.flip(voxels, way)), way)
        return total / (len(self.ways) + 1)


def labels_of(tmp_path, name, network, card, volumes, **values):
    (tmp_path / name).mkdir()
    task = loaded(a_folder(tmp_path / name, network, card))
    return task, task.perform(**volumes, **values)["segmentation"].volume.array


@pytest.mark.parametrize(("axes", "letters"), [("ijk", "ijk"), ("kji", "i"), ("jki", "kj"), ("ijk", "j")])
@pytest.mark.parametrize("patch", ["", "patch: [6, 8, 4]\n"])
def test_mirroring_gives_the_mean_of_all_ways_along_the_axes_that_the_card_names(
    tmp_path, volumes, axes, letters, patch
):
    dimensions = {("ijk", "ijk"): (2, 3, 4), ("kji", "i"): (4,), ("jki", "kj"): (2, 3), ("ijk", "j"): (3,)}[
        axes, letters
    ]
    card = f"{CARD}axes: {axes}\n{patch}"
    _, expected = labels_of(tmp_path, "mean", EachWay(a_network(), dimensions), card, volumes)
    task, found = labels_of(tmp_path, "ours", a_network(), f"{card}mirroring: {letters}\n", volumes)
    assert np.array_equal(found, expected)
    option = task.inputs[-1]
    assert (option.id, option.default) == ("mirroring", True)
    assert f"asked {2 ** len(letters)} times" in option.description
    _, plain = labels_of(tmp_path, "plain", a_network(), card, volumes)
    assert not np.array_equal(plain, found)
    assert np.array_equal(task.perform(**volumes, mirroring=False)["segmentation"].volume.array, plain)


def test_without_axes_nothing_is_mirrored_and_a_whole_volume_that_is_takes_its_memory(tmp_path):
    (tmp_path / "tomaat.yaml").write_text(CARD)
    plain = read_card(tmp_path)
    assert plain.mirroring == ""
    (tmp_path / "tomaat.yaml").write_text(CARD + "mirroring: i\n")
    mirrored = read_card(tmp_path)
    more = CardBytes.of(mirrored, (10, 10, 10), (10, 10, 10)).run - CardBytes.of(plain, (10, 10, 10), (10, 10, 10)).run
    assert more == 4 * 1000 * (2 + 2 * 3)


def test_a_crop_shows_the_network_the_box_of_what_is_not_0_in_any_volume(tmp_path, volumes):
    blank = {id: np.zeros_like(volume.array) for id, volume in volumes.items()}
    blank["t1"][3:9, 2:9, 1:8] = volumes["t1"].array[3:9, 2:9, 1:8]
    blank["t2"][4:11, 2:6, 2:8] = volumes["t2"].array[4:11, 2:6, 2:8]
    whole = {id: volumes[id].like(array) for id, array in blank.items()}
    box = (slice(3, 11), slice(2, 9), slice(1, 8))
    assert box_of(whole) == box
    cut = {id: volume.cropped(volume.to_physical((6.5, 5, 4)), (8, 7, 7)) for id, volume in whole.items()}
    assert cut["t1"].array.tolist() == blank["t1"][box].tolist()
    for number, more in enumerate(("", "spacing_mm: [1.1, 0.9, 1.7]\n")):
        _, expected = labels_of(tmp_path, f"cut{number}", a_network(), CARD + more, cut)
        task, found = labels_of(tmp_path, f"whole{number}", a_network(), f"{CARD}crop: nonzero\n{more}", whole)
        assert expected.any()
        assert np.array_equal(found[box], expected)
        assert not np.delete(found, np.r_[3:11], axis=0).any()
        assert np.count_nonzero(found) == np.count_nonzero(expected)
    with pytest.raises(TaskRefused, match="t1, t2: all voxels are 0; there is nothing to see"):
        task.perform(**{id: volume.like(volume.array * 0) for id, volume in whole.items()})


def test_a_folder_with_a_crop_is_tried_and_added_and_both_tell_its_need(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TOMAAT_CUSTOM_TASKS_DIR", str(tmp_path / "tasks"))
    monkeypatch.setenv("TOMAAT_BASE_STORAGE_DIR", str(tmp_path / "storage"))
    monkeypatch.setattr(telling, "USUAL", replace(telling.USUAL, array=telling.USUAL.array[:64, :64, :30]))
    (tmp_path / "tasks").mkdir()
    folder = a_folder(tmp_path, a_network(), f"{CARD}crop: nonzero\n")
    scans = [f"{path.name[:2]}={path}" for path in files(tmp_path, PLACES["RAS"])]
    for words in (
        ["try", str(folder), *scans, "--trust", "--device", "cpu", "--out", str(tmp_path / "out")],
        ["add", str(folder), "--trust", "--no-reload"],
    ):
        assert main(words) == 0
        assert (
            "memory for a volume of 64 x 64 x 30 voxels of 0.8 x 0.8 x 1 mm: on a CPU about " in capsys.readouterr().out
        )
    assert (tmp_path / "tasks/Twots/tomaat.yaml").exists()


def test_values_are_scaled_before_they_are_sampled_where_the_card_says_so(tmp_path, volumes):
    """The outline of both volumes, holes filled, counts; then splines sample what was scaled."""
    one = volumes["t1"].array.copy()
    one[:, :3] = one[5, 5, 5] = 0
    hollow = {"t1": volumes["t1"].like(one), "t2": volumes["t2"].like(np.where(one == 0, 0, volumes["t2"].array))}
    card = CARD.replace("intensity: z-score", "intensity: {method: z-score, voxels: inside}")
    card += "spacing_mm: [0.9, 1.1, 1.3]\nsampling: cubic\nintensity_of: sent\n"
    task = loaded(a_folder(tmp_path, a_network(), card))
    channels, seen = task._prepared(hollow)
    outline = np.ones(one.shape, bool)
    outline[:, :3] = False
    scaled = one.copy()
    scaled[outline] = (one[outline] - one[outline].mean()) / one[outline].std()
    turned = hollow["t1"].like(scaled).reoriented("RAS")
    expected = turned.resampled((0.9, 1.1, 1.3), interpolation="cubic").array
    assert seen.array.shape == expected.shape
    assert np.allclose(channels[0].numpy(), expected, atol=1e-4)
    linear = turned.resampled((0.9, 1.1, 1.3)).array
    assert not np.allclose(linear, expected, atol=0.1)


class Spots(nn.Module):
    """Two labels: a large and a small part of the first, which has a hole, and one part of the second."""

    def forward(self, voxels):
        given = torch.zeros_like(voxels[:, :1]).repeat(1, 3, 1, 1, 1)
        given[:, 1, 1:6, 1:6, 1:6] = 9
        given[:, 1, 3, 3, 3] = -9
        given[:, 1, 8:10, 8, 8] = 9
        given[:, 2, 11, 1:4, 1:4] = 9
        return given


def test_the_largest_part_of_each_label_is_kept_and_its_holes_are_filled_where_the_card_says_so(tmp_path, volumes):
    card = CARD.replace("orientation: RAS", "orientation: as-sent")
    for number, (more, counts) in enumerate(
        (
            ("", [125 - 1 + 2, 9]),
            (", largest_part: true", [125 - 1, 9]),
            (", without_holes: true", [125 + 2, 9]),
            (", largest_part: true, without_holes: true", [125, 9]),
        )
    ):
        text = card.replace("{kind: softmax}", f"{{kind: softmax{more}}}")
        task, found = labels_of(tmp_path, str(number), Spots(), text, volumes)
        assert np.bincount(found.ravel())[1:].tolist() == counts
        assert sitk.GetArrayFromImage(sitk.GetImageFromArray(found)).sum() == counts[0] + 2 * counts[1]
    stages = []
    task.report = lambda _, stage: stages.append(stage)
    task.perform(**volumes)
    assert stages[-4:] == ["parts of liver", "parts of lesion", "holes of liver", "holes of lesion"], (
        "it may be cancelled"
    )


def test_a_network_asked_mirrored_may_give_back_what_it_got(tmp_path, volumes):
    card = CARD.partition("labels:")[0].replace("softmax", "regression, names: [a, b]") + "mirroring: ijk\n"
    task = loaded(a_folder(tmp_path, nn.Identity(), card))
    outputs = task.perform(**volumes)
    one = volumes["t1"].array.astype(np.float64)
    assert np.allclose(outputs["a"].array, (one - one.mean()) / one.std(), atol=1e-4)
    assert card_task.MIRRORING in {each.id for each in task.inputs}
