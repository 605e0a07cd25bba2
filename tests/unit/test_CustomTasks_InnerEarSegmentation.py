"""InnerEarSegmentation called directly: its refusals, its parts, and its weights beside their documents."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from CustomTasks.InnerEarSegmentationTask import InnerEarSegmentationTask
from networks.inner_ear import imaging, train
from networks.inner_ear.train import TESTS, Examples, dice
from tomaat.services import TaskRefused
from tomaat.volumes import Volume

FOLDER = Path(train.__file__).parent


@pytest.fixture(scope="module")
def task():
    made = InnerEarSegmentationTask()
    made.load(torch.device("cpu"))
    return made


def found(task, volume, center=None, **changed):
    arguments = {
        "cissvolume": volume,
        "onlyLargestComponent": True,
        "center": None if center is None else (tuple(center),),
    } | changed
    return task.perform(**arguments)["inner_ear"].onto(volume).volume.array == 1


def straight(shape, spacing_mm=1.0, value=0.0):
    array = np.full(shape, value, np.float32)
    return Volume(array=array, spacing_mm=(spacing_mm,) * 3, origin_mm=(0, 0, 0), direction=imaging.STRAIGHT)


@pytest.mark.parametrize(("only_largest", "parts"), [(True, 1), (False, 2)])
def test_smaller_parts_are_kept_unless_only_the_largest_is_asked_for(task, monkeypatch, only_largest, parts):
    volume = straight((40, 30, 20))
    volume.array[10:16, 10:16, 8:12] = 1000
    volume.array[24:27, 18:21, 8:11] = 1000
    monkeypatch.setattr(task, "network", lambda voxels: (voxels - 0.5) * 20)
    mask = found(task, volume, onlyLargestComponent=only_largest)
    assert mask[12, 12, 10]
    assert mask[25, 19, 9] == (parts == 2)
    assert dice(mask[:20], volume.array[:20] > 0) > 0.95


@pytest.mark.parametrize(
    ("volume", "center", "sentence", "code"),
    [
        (
            straight((40, 40, 10)), None,
            "cissvolume: 40.0 x 40.0 x 10.0 mm is too small for an inner ear; send at least 12 mm along each axis.",
            "volume-too-small",
        ),
        (
            straight((40, 30, 20)), (50.0, 10.0, 10.0),
            "center: (50.0, 10.0, 10.0) mm lies outside of cissvolume, which spans -0.5 to 39.5, -0.5 to 29.5, "
            "-0.5 to 19.5 mm (LPS); choose a point in it.",
            "center-outside",
        ),
        (
            straight((40, 30, 20), value=7.0), None,
            "cissvolume: all voxels around the center have the same brightness; there is no inner ear to be seen.",
            "nothing-to-see",
        ),
        (
            straight((40, 30, 20), value=np.nan), None,
            "cissvolume: all voxels around the center have the same brightness; there is no inner ear to be seen.",
            "nothing-to-see",
        ),
    ],
    ids=["too small", "center outside", "one brightness", "no number"],
)  # fmt: skip
def test_what_cannot_show_an_inner_ear_is_refused_with_the_thing_the_value_and_the_rule(
    task, volume, center, sentence, code
):
    with pytest.raises(TaskRefused) as refused:
        found(task, volume, center)
    assert (refused.value.detail, refused.value.code) == (sentence, code)


def test_a_center_at_the_volumes_very_corner_is_taken(task):
    volume = straight((40, 30, 20))
    volume.array[:] = np.random.default_rng(0).normal(100, 10, volume.array.shape)
    assert found(task, volume, (0.0, 0.0, 0.0)).shape == (40, 30, 20)


def test_the_weights_are_small_and_are_those_that_were_evaluated():
    weights = InnerEarSegmentationTask.weights
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert weights.stat().st_size <= 5_000_000
    assert weights.with_suffix(".sha256").read_text().split() == [digest, weights.name]
    evaluation = (FOLDER / "evaluation.md").read_text()
    assert f"`{digest}`" in evaluation
    assert "MISSED" not in evaluation


def test_the_evaluation_holds_what_was_asked_of_the_network():
    row = re.search(
        r"^\| all \| (\d+) \| ([\d.]+) \| ([\d.]+) \|", (FOLDER / "evaluation.md").read_text(), re.MULTILINE
    )
    number, mean, fifth = (float(cell) for cell in row.groups())
    assert number == 200
    assert mean >= 0.9
    assert fifth >= 0.8


def test_the_model_card_says_what_the_network_is_and_is_not_for(task):
    card = (FOLDER / "README.md").read_text()
    assert f"{sum(part.numel() for part in task.network.parameters()):,} parameters" in card
    assert "phantoms only, not for clinical use" in card
    assert InnerEarSegmentationTask.description.endswith("phantoms only: not for clinical use.")


def test_an_example_is_made_from_its_number_alone():
    one, same, other = (Examples(TESTS, seed, 10)[3] for seed in (1, 1, 2))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])
    assert one[0].shape == one[1].shape == (1, 80, 60, 40)


def test_the_loss_is_least_for_the_truth():
    truth = (torch.rand(1, 1, 8, 8, 8) > 0.8).float()
    right, wrong = (train.loss_of(sign * (truth * 40 - 20), truth) for sign in (1, -1))
    assert right < 0.001
    assert wrong > 1
