"""Networks in files with a card: their services give what the networks themselves give on the same files."""

import itertools

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from torch import nn

from CustomTasks.InnerEarSegmentationTask import CUT, INNER_EAR, InnerEarSegmentationTask, block_around
from networks.inner_ear import export
from tests.integration.card_folders import CARD, CPU, PLACES, SAVES, Position, a_folder, a_network, files, loaded, sent
from tests.service import REPOSITORY
from tomaat.reader import VolumeReader
from tomaat.services import Cancelled
from tomaat.services.__main__ import main
from tomaat.volumes import Code


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=1024**3)
    yield made
    made.close()


def normalised(one, two):
    one = (one - one.mean()) / one.std()
    low, high = np.percentile(two, [2, 95])
    return np.stack([one, np.clip((two - low) / (high - low), 0, 1)]).astype(np.float32)


@torch.no_grad()
def by_hand(network, paths):
    """Run the network as a script by nibabel would: turned to RAS, and back; labels on the file's own grid."""
    images = [nibabel.load(path) for path in paths]
    seen = normalised(*(nibabel.as_closest_canonical(image).get_fdata() for image in images))
    found = network(torch.from_numpy(seen)[None])[0].argmax(0).numpy()
    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(images[0].affine))
    return apply_orientation(found, back)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", SAVES)
def test_a_service_gives_what_its_network_gives_on_the_same_files(tmp_path, reader, kind, place):
    network, paths = a_network(), files(tmp_path, PLACES[place])
    task = loaded(a_folder(tmp_path, network, kind=kind))
    labels = task.perform(**sent(paths, reader))["segmentation"]
    expected = by_hand(network, paths)
    assert set(np.unique(expected)) == {0, 1, 2}
    assert np.array_equal(labels.volume.array, expected)
    assert labels.names == {1: "liver", 2: "lesion"}
    assert labels.codes == {2: Code("52988006", "SCT", "Lesion")}


def test_a_network_for_the_arrays_of_simpleitk_gets_them_as_they_lie(tmp_path, reader):
    network, paths = a_network(), files(tmp_path, PLACES["oblique, turned, flipped, anisotropic"])
    card = CARD.replace("orientation: RAS", "orientation: as-sent\naxes: kji")
    labels = loaded(a_folder(tmp_path, network, card)).perform(**sent(paths, reader))["segmentation"]
    seen = normalised(*(sitk.GetArrayFromImage(sitk.ReadImage(path)).astype(np.float64) for path in paths))
    with torch.no_grad():
        expected = network(torch.from_numpy(seen)[None])[0].argmax(0).numpy()
    assert np.array_equal(labels.volume.array, expected.transpose(2, 1, 0))


def at_spacing(image, spacing):
    """Sample an image as the card says, by SimpleITK alone; the middle stays."""
    size = [
        max(1, round(n * old / new)) for n, old, new in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)
    ]
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    axes = np.array(image.GetDirection()).reshape(3, 3)
    first = middle - axes @ ((np.array(size) - 1) / 2 * spacing)
    return sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, first.tolist(), spacing, image.GetDirection())


@torch.no_grad()
def by_simpleitk(network, paths, spacing):
    """Run the network at its own spacing; its probabilities, one image each, on the grid of the files."""
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in paths]
    seen = [at_spacing(sitk.DICOMOrient(image, "LPS"), spacing) for image in images]
    channels = normalised(*(sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.float64) for image in seen))
    probable = network(torch.from_numpy(channels)[None])[0].softmax(0).numpy()
    back = []
    for each in probable:
        image = sitk.GetImageFromArray(each.transpose(2, 1, 0))
        image.CopyInformation(seen[0])
        image = sitk.ZeroFluxNeumannPad(image, [1] * 3, [1] * 3)
        back.append(sitk.GetArrayFromImage(sitk.Resample(image, images[0])).transpose(2, 1, 0))
    return np.array(back)


@pytest.mark.parametrize("spacing", [(1.5, 1.1, 1.9), (3.1, 0.7, 1.3)])
def test_a_networks_spacing_is_met_and_its_labels_come_back_onto_the_files_grid(tmp_path, reader, spacing):
    network, paths = a_network(), files(tmp_path, PLACES["oblique, turned, flipped, anisotropic"])
    card = CARD.replace("orientation: RAS", f"orientation: LPS\nspacing_mm: {list(spacing)}")
    labels = loaded(a_folder(tmp_path, network, card)).perform(**sent(paths, reader))["segmentation"]
    probable = by_simpleitk(network, paths, spacing)
    two = np.sort(probable, axis=0)[-2:]
    clear = two[1] - two[0] > 1e-5  # where two classes are alike, rounding chooses
    assert clear.mean() > 0.999
    assert set(np.unique(probable.argmax(0))) == {0, 1, 2}
    assert np.array_equal(labels.volume.array[clear], probable.argmax(0)[clear])


def test_a_sigmoid_is_cut_where_the_client_says_and_the_last_label_above_it_counts(tmp_path, reader):
    network, paths = a_network(2), files(tmp_path, PLACES["flipped"])
    card = CARD.replace("kind: softmax", "kind: sigmoid, cut: 0.6")
    task = loaded(a_folder(tmp_path, network, card))
    assert [(each.id, each.default) for each in task.inputs] == [("t1", None), ("t2", None), ("cut", 0.6)]
    images = [nibabel.load(path) for path in paths]
    seen = normalised(*(nibabel.as_closest_canonical(image).get_fdata() for image in images))
    with torch.no_grad():
        probable = network(torch.from_numpy(seen)[None])[0].sigmoid().numpy()
    for cut in (0.5, 0.8):
        labels = task.perform(**sent(paths, reader), cut=cut)["segmentation"]
        expected = np.where(probable[1] > cut, 2, np.where(probable[0] > cut, 1, 0))
        assert np.array_equal(labels.volume.array, apply_orientation(expected, [[0, -1], [1, -1], [2, -1]]))


def test_a_regression_gives_a_volume_for_each_channel_on_the_files_own_grid(tmp_path, reader):
    network, paths = a_network(2), files(tmp_path, PLACES["flipped"])
    card = CARD.partition("labels:")[0].replace("kind: softmax", "kind: regression, names: [water, fat]")
    volumes = sent(paths, reader)
    outputs = loaded(a_folder(tmp_path, network, card)).perform(**volumes)
    seen = normalised(*(nibabel.as_closest_canonical(nibabel.load(path)).get_fdata() for path in paths))
    with torch.no_grad():
        expected = network(torch.from_numpy(seen)[None])[0].numpy()
    for name, each in zip(("water", "fat"), expected, strict=True):
        assert np.allclose(outputs[name].array, np.flip(each), atol=1e-5)
        assert outputs[name].direction == volumes["t1"].direction
        assert outputs[name].origin_mm == volumes["t1"].origin_mm


class Argmax(nn.Module):
    """Gives labels, as whole numbers."""

    def forward(self, voxels):
        return (voxels[:, :1] > 0).long() * 7


def test_a_network_that_gives_labels_is_taken_by_its_word(tmp_path, reader):
    card = CARD.partition("labels:")[0].replace("softmax", "labels") + "labels: {7: bright}\n"
    paths = files(tmp_path, PLACES["turned, flipped, anisotropic"])
    labels = loaded(a_folder(tmp_path, Argmax(), card)).perform(**sent(paths, reader))["segmentation"]
    one = nibabel.load(paths[0]).get_fdata()
    assert np.array_equal(labels.volume.array, np.where(one > one.mean(), 7, 0))


@pytest.mark.parametrize("kind", ["onnx", "ts"])
def test_tiles_of_a_network_of_fixed_size_are_blended_and_a_small_volume_is_filled_up(tmp_path, reader, kind):
    card = CARD.partition("labels:")[0].replace("softmax", "regression, names: [same, place]")
    card += "patch: [6, 12, 4]\noverlap: 0.5\n"
    card = card.replace("z-score", "none").replace("{method: percentiles, low: 2, high: 95, clip: [0, 1]}", "none")
    task = loaded(a_folder(tmp_path, Position(), card, kind, (2, 6, 12, 4), fixed=True))
    told = []
    task.report = lambda fraction, stage: told.append((round(fraction, 2), stage))
    volumes = sent(files(tmp_path, PLACES["RAS"]), reader)
    outputs = task.perform(**volumes)
    assert np.allclose(outputs["same"].array, volumes["t1"].array, rtol=1e-5)
    assert np.allclose(outputs["place"].array, blended_places(), atol=1e-5)
    assert told[0] == (0.0, "preparing the volumes")
    assert told[1] == (0.05, "tile 1 of 16")
    assert told[-2][1] == "tile 16 of 16"
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)


def blended_places():
    """Blend by hand, over 13 x 10 x 9 voxels, patches of 6 x 12 x 4 whose values are their places along i."""
    weights = np.ones((6, 12, 4))
    for place in np.ndindex(6, 12, 4):
        for at, size in zip(place, (6, 12, 4), strict=True):
            weights[place] *= np.exp(-0.5 * ((at - (size - 1) / 2) / (size / 8)) ** 2)
    weights = np.maximum(weights, 1e-3)
    total, blended = np.zeros((13, 12, 9)), np.zeros((13, 12, 9))
    for i, k in itertools.product((0, 2, 5, 7), (0, 2, 3, 5)):  # evenly, at most half a patch apart
        total[i : i + 6, :, k : k + 4] += weights
        blended[i : i + 6, :, k : k + 4] += weights * np.arange(6)[:, None, None]
    return (blended / total)[:, 1:11]


def test_a_ticket_that_is_cancelled_ends_between_two_tiles(tmp_path, reader):
    task = loaded(a_folder(tmp_path, a_network(), CARD + "patch: 8\n"))
    told = []

    def report(_, stage):
        told.append(stage)
        if stage == "tile 2 of 12":
            raise Cancelled

    task.report = report
    with pytest.raises(Cancelled):
        task.perform(**sent(files(tmp_path, PLACES["RAS"]), reader))
    assert told[-1] == "tile 2 of 12"


def test_a_whole_volume_is_filled_up_to_a_multiple_and_cut_to_its_size_again(tmp_path, reader):
    class Halves(nn.Module):
        def forward(self, voxels):
            coarse = torch.nn.functional.avg_pool3d(voxels, 8)
            return voxels + 0 * torch.nn.functional.interpolate(coarse, scale_factor=8.0)

    card = CARD.partition("labels:")[0].replace("softmax", "regression, names: [a, b]") + "multiple_of: 8\n"
    volumes = sent(files(tmp_path, PLACES["RAS"]), reader)
    outputs = loaded(a_folder(tmp_path, Halves(), card)).perform(**volumes)
    one = volumes["t1"].array.astype(np.float64)
    assert np.allclose(outputs["a"].array, (one - one.mean()) / one.std(), atol=1e-5)


def test_a_folder_is_tried_without_a_server_and_its_labels_lie_on_the_files_grid(tmp_path, capsys):
    network, paths = a_network(), files(tmp_path, PLACES["oblique, turned, flipped, anisotropic"])
    folder = a_folder(tmp_path, network, kind="onnx")
    words = ["try", str(folder), *(f"{name}={path}" for name, path in zip(("t1", "t2"), paths, strict=True))]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    assert "liver" in capsys.readouterr().out
    written = nibabel.load(tmp_path / "out/segmentation.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), by_hand(network, paths))
    assert np.allclose(written.affine, nibabel.load(paths[0]).affine, atol=1e-5)


def test_the_inner_ears_network_gives_as_an_onnx_file_what_its_task_gives(tmp_path, reader):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export.main([str(tmp_path / "Blocks")])
    blocks = loaded(tmp_path / "Blocks")
    task = InnerEarSegmentationTask()
    task.load(CPU)
    scan = reader.read(REPOSITORY / "CustomTasks/examples/phantom_inner_ear.nii.gz")
    block = block_around(scan, (40.0, 18.0, -30.0))
    expected = task.probable(scan, (40.0, 18.0, -30.0)).array > CUT
    assert expected.sum() > 1000
    for letters in ("LPS", "RAI", "SAR"):
        found = blocks.perform(cissvolume=block.reoriented(letters), cut=CUT)["inner_ear"]
        assert np.array_equal(found.volume.array, block.like(expected).reoriented(letters).array)
        assert found.codes == {1: INNER_EAR}
