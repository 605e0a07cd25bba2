"""InnerEarSegmentation with its real weights, called directly, and the way that its weights came about."""

import gzip
import hashlib
import json
import re
import tarfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from CustomTasks.InnerEarSegmentationTask import InnerEarSegmentationTask
from Inputs import PointListInput
from networks.inner_ear import evaluate, imaging, train
from networks.inner_ear.train import TESTS, Examples, dice
from tests.data import HEAD, MNI152, fetch
from tomaat.services import TaskRefused
from tomaat.volumes import Volume

FOLDER = Path(train.__file__).parent
REPOSITORY = FOLDER.parents[1]
NEXT_TO_NOTHING_ML = 0.01  #: an inner ear has about 0.2
CASES = range(8)


@pytest.fixture(scope="module")
def task():
    made = InnerEarSegmentationTask()
    made.load(torch.device("cpu"))
    return made


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that share a few convolutions wait for each other more than they compute; training has one, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(train.THREADS)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def case():
    """One phantom that the network has not seen."""
    return evaluate.case(0, kind=TESTS)


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


def as_volume(image):
    """A NIfTI image, whose positions are RAS, as the service reads it."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return Volume(
        array=np.asarray(image.dataobj).reshape(image.shape[:3]),
        spacing_mm=tuple(spacing.tolist()),
        origin_mm=tuple(affine[:3, 3].tolist()),
        direction=tuple(tuple(row) for row in (affine[:3, :3] / spacing).tolist()),
    )


def test_the_inner_ears_of_unseen_phantoms_are_outlined(task):
    """Tilted, anisotropic, off-center, on axes of any order, as the evaluation has them; the measure is the issue's."""
    scores = [one.dice for one in evaluate.scored(task, CASES, kind=TESTS)]
    assert np.mean(scores) >= 0.9
    assert min(scores) >= 0.8


def test_without_a_center_the_middle_of_the_volume_is_looked_at(task, case):
    middle = found(task, case.volume, None)
    assert np.array_equal(middle, found(task, case.volume, case.volume.center_mm))
    assert dice(middle, case.truth) > 0.8


def test_turning_and_flipping_the_axes_changes_nothing(task, case):
    one = found(task, case.volume, case.center_mm)
    turned = case.volume.reoriented("SAR")
    other = turned.like(found(task, turned, case.center_mm)).reoriented(case.volume.orientation)
    assert dice(one, other.array) > 0.99


def test_a_scale_and_a_shift_of_brightness_change_nothing(task, case):
    one = found(task, case.volume, case.center_mm)
    other = found(task, case.volume.like(case.volume.array * 0.01 - 3), case.center_mm)
    assert dice(one, other) > 0.99


def test_the_center_is_lps_as_the_input_declares_and_ras_is_converted(task, case):
    declared = next(each for each in task.inputs if each.id == "center")
    assert declared.describe()["coordinates"] == "LPS"
    x, y, z = case.center_mm
    ras = PointListInput("center", "Where to look", coordinates="RAS")
    assert np.allclose(ras.convert([[-x, -y, z]]), declared.convert([[x, y, z]]))
    assert dice(found(task, case.volume, declared.convert([[x, y, z]])[0]), case.truth) > 0.8
    assert abs(x) + abs(y) > 30, "else the sign would not matter"
    with pytest.raises(TaskRefused, match=r"center: .* lies outside"):
        found(task, case.volume, (-x, -y, z))


def test_what_lies_beyond_the_first_block_is_found_by_a_second_look(task, case, monkeypatch):
    looks = []
    probable = task.probable
    monkeypatch.setattr(task, "probable", lambda scan, center: looks.append(center) or probable(scan, center))
    truth = np.argwhere(case.truth)
    middle = np.asarray(case.volume.to_physical((truth.min(axis=0) + truth.max(axis=0)) / 2))
    whole = found(task, case.volume, middle + np.array([0, 0, 7.0]))
    assert np.linalg.norm(looks[1] - middle) < np.linalg.norm(looks[0] - middle) - 2
    assert dice(whole, case.truth) > 0.8


def test_the_example_shows_an_inner_ear(task):
    with tarfile.open(REPOSITORY / "examples/payload_inner_ear_phantom.tar.gz") as archive:
        inputs = json.load(archive.extractfile("main.json"))["inputs"]
        image = nibabel.Nifti1Image.from_bytes(archive.extractfile("file-cissvolume.nii").read())
    volume = as_volume(image)
    mask = found(task, volume, inputs["center"][0])
    assert 0.12 < mask.sum() * volume.voxel_ml < 0.3


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


@pytest.mark.parametrize("kind", imaging.EMPTY)
def test_next_to_nothing_is_found_where_there_is_no_inner_ear(task, kind):
    for number in range(1000, 1003):
        volume = evaluate.empty_case(kind, number)
        assert found(task, volume).sum() * volume.voxel_ml < NEXT_TO_NOTHING_ML


@pytest.mark.parametrize("head", [HEAD, MNI152], ids=["a head", "the MNI152 template"])
def test_next_to_nothing_is_found_in_a_heads_cortex(task, head):
    volume = as_volume(nibabel.Nifti1Image.from_bytes(gzip.decompress(fetch(*head))))
    for ras in ((45, -20, 45), (-45, 20, 30), (10, -85, 10), (0, 50, 20), (-60, -30, 10)):
        cortex = found(task, volume, (-ras[0], -ras[1], ras[2]))
        assert cortex.sum() * volume.voxel_ml < NEXT_TO_NOTHING_ML, ras


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


def test_the_same_seed_trains_the_same_weights_however_many_processes_make_the_examples(tmp_path, capsys):
    digests = {}
    for name, seed, workers in (("one", 5, 0), ("same", 5, 1), ("other", 6, 0)):
        path = tmp_path / f"{name}.safetensors"
        train.main([f"--seed={seed}", "--steps=2", "--validation=1", f"--workers={workers}", "--weights", str(path)])
        digests[name] = path.with_suffix(".sha256").read_text().split()[0]
        assert load_file(path).keys() == train.UNet().state_dict().keys()
    assert digests["one"] == digests["same"]
    assert digests["one"] != digests["other"]
    assert "step 2/2" in capsys.readouterr().out


def test_training_brings_the_loss_down():
    torch.manual_seed(0)
    network = train.UNet()
    seen, truth = (part[None] for part in Examples(TESTS, 1, 9)[4])
    assert truth.max() > 0.5, "else there is nothing to learn"
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(10):
        loss = train.loss_of(network(seen), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_loss_is_least_for_the_truth():
    truth = (torch.rand(1, 1, 8, 8, 8) > 0.8).float()
    right, wrong = (train.loss_of(sign * (truth * 40 - 20), truth) for sign in (1, -1))
    assert right < 0.001
    assert wrong > 1


def test_the_evaluation_writes_its_table_and_its_plot(tmp_path, capsys):
    status = evaluate.main(["--folder", str(tmp_path), "--cases=2", "--cases-per-noise=1", "--cases-empty=1"])
    written = (tmp_path / "evaluation.md").read_text()
    assert written.strip() == capsys.readouterr().out.strip()
    assert status == (1 if "MISSED" in written else 0)
    assert "| all | 2 |" in written
    for picture in ("noise.png", "phantom.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
