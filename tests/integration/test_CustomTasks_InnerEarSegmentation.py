"""InnerEarSegmentation with its real weights on unseen images; a short training and a short evaluation."""

import gzip
import json
import tarfile

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
from tests.service import REPOSITORY
from tests.unit.test_CustomTasks_InnerEarSegmentation import found
from tomaat.services import TaskRefused
from tomaat.volumes import Volume

NEXT_TO_NOTHING_ML = 0.01  #: an inner ear has about 0.2
CASES = range(8)

pytestmark = pytest.mark.slow


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


def test_the_evaluation_writes_its_table_and_its_plot(tmp_path, capsys):
    status = evaluate.main(["--folder", str(tmp_path), "--cases=2", "--cases-per-noise=1", "--cases-empty=1"])
    written = (tmp_path / "evaluation.md").read_text()
    assert written.strip() == capsys.readouterr().out.strip()
    assert status == (1 if "MISSED" in written else 0)
    assert "| all | 2 |" in written
    for picture in ("noise.png", "phantom.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
