"""Networks in files with a card: their services give what the networks themselves give on the same files."""

import itertools
import shutil
import warnings

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from torch import nn

from tomaat.reader import VolumeReader
from tomaat.refusals import WrongValue
from tomaat.services import Cancelled, TaskRefused
from tomaat.services.find import fault_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task
from tomaat.volumes import Code

CARD = """
description: Marks two things.
inputs:
  - {id: t1, name: T1, modality: MR}
  - {id: t2, name: T2, intensity: {method: percentiles, low: 2, high: 95, clip: [0, 1]}}
orientation: RAS
intensity: z-score
output: {kind: softmax}
labels:
  1: liver
  2: {name: lesion, code: {value: "52988006", meaning: Lesion}}
"""
CPU = torch.device("cpu")


class Network(nn.Module):
    """Any network that tells left from right: two channels to ``outputs``."""

    def __init__(self, outputs=3):
        super().__init__()
        self.first = nn.Conv3d(2, 4, 3, padding=1)
        self.last = nn.Conv3d(4, outputs, 3, padding=1)

    def forward(self, voxels):
        return 4 * self.last(torch.relu(self.first(voxels)))


class Position(nn.Module):
    """Gives each place within a patch another value, and the first channel as it is."""

    def forward(self, voxels):
        places = torch.arange(voxels.shape[2], dtype=torch.float32)[None, None, :, None, None]
        return torch.cat([voxels[:, :1], places.expand(1, 1, -1, voxels.shape[3], voxels.shape[4])], 1)


def save_onnx(network, file, sizes, *, fixed):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    axes = {} if fixed else {"voxels": {2: "i", 3: "j", 4: "k"}}
    torch.onnx.export(network, (torch.rand(1, *sizes),), file, dynamo=False, input_names=["voxels"], dynamic_axes=axes)


def save_scripted(network, file, sizes, *, fixed):
    torch.jit.script(network).save(str(file))


def save_exported(network, file, sizes, *, fixed):
    some = torch.export.Dim.AUTO
    shapes = None if fixed else {"voxels": {2: some, 3: some, 4: some}}
    torch.export.save(torch.export.export(network, (torch.rand(1, *sizes),), dynamic_shapes=shapes), file)


SAVES = {"onnx": save_onnx, "ts": save_scripted, "pt2": save_exported}


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=1024**3)
    yield made
    made.close()


def a_folder(tmp_path, network, card=CARD, kind="ts", sizes=(2, 8, 8, 8), *, fixed=False):
    folder = tmp_path / f"Two{kind}"
    folder.mkdir()
    (folder / "tomaat.yaml").write_text(card)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        SAVES[kind](network.eval(), folder / f"network.{kind}", sizes, fixed=fixed)
    return folder


def loaded(folder):
    task = make_task(folder)
    type(task).is_trusted = True
    assert fault_of(task) is None
    task.load(CPU)
    return task


def a_network(outputs=3, seed=3):
    torch.manual_seed(seed)
    return Network(outputs)


def affine_of(degrees, axes, spacing):
    """Give an affine (RAS) of axes that are turned about z and about x, then ordered and flipped as ``axes`` says."""
    along, across = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_z = [[along, -across, 0], [across, along, 0], [0, 0, 1]]
    about_x = [[1, 0, 0], [0, along, -across], [0, across, along]]
    ornt = axcodes2ornt(axes)
    affine = np.eye(4)
    for axis, (world, sense) in enumerate(ornt.astype(int)):
        affine[:3, axis] = (np.array(about_z) @ about_x)[:, world] * sense * spacing[axis]
    affine[:3, 3] = (-20, 31, 7)
    return affine


PLACES = {
    "RAS": affine_of(0, "RAS", (1, 1, 1)),
    "flipped": affine_of(0, "LPI", (1, 1, 1)),
    "turned, flipped, anisotropic": affine_of(0, "SLA", (0.7, 1.1, 3)),
    "oblique, turned, flipped, anisotropic": affine_of(17, "IPR", (0.8, 1.3, 2.4)),
}


def files(tmp_path, affine, shape=(13, 10, 9)):
    rng = np.random.default_rng(5)
    paths = [tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz"]
    for path in paths:
        nibabel.save(nibabel.Nifti1Image(rng.normal(100, 30, shape).astype(np.float32), affine), path)
    return paths


def sent(paths, reader):
    return {name: reader.read(path) for name, path in zip(("t1", "t2"), paths, strict=True)}


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


@pytest.fixture(scope="module", params=SAVES)
def of_each_kind(request, tmp_path_factory):
    """A folder of each kind, with the same network."""
    return a_folder(tmp_path_factory.mktemp("kinds"), a_network(), kind=request.param)


@pytest.mark.parametrize("place", PLACES)
def test_a_service_gives_what_its_network_gives_on_the_same_files(tmp_path, reader, of_each_kind, place):
    network, paths = a_network(), files(tmp_path, PLACES[place])
    task = loaded(of_each_kind)
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
    weights = np.maximum(weights / weights.max(), 1e-3)
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


def test_volumes_on_two_grids_and_voxels_that_are_no_numbers_are_refused_by_their_input(tmp_path, reader):
    task = loaded(a_folder(tmp_path, a_network()))
    volumes = sent(files(tmp_path, PLACES["RAS"]), reader)
    with pytest.raises(TaskRefused, match=r"^t2: it has 13 x 10 x 8 voxels, and t1 has 13 x 10 x 9"):
        task.perform(**volumes | {"t2": volumes["t2"].cropped(volumes["t2"].center_mm, (13, 10, 8))})
    with pytest.raises(TaskRefused, match=r"^t2: it holds voxels that are no finite numbers"):
        task.perform(**volumes | {"t2": volumes["t2"].like(np.full((13, 10, 9), np.nan, np.float32))})
    with pytest.raises(TaskRefused, match=r"^t2: the percentiles 2 and 95 of its voxels are both 3; there is nothing"):
        task.perform(**volumes | {"t2": volumes["t2"].like(np.full((13, 10, 9), 3))})


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_network_that_the_card_does_not_fit_is_refused_before_any_ticket(tmp_path, kind):
    folder = a_folder(tmp_path, a_network(), kind=kind, fixed=True)
    file = f"Two{kind}/network.{kind}"
    for card, reason in (
        (CARD, rf"{file} takes volumes of 8, 8, 8 voxels, and the card says no patch; write patch: \[8, 8, 8\]"),
        (CARD + "patch: 9\n", rf"{file} takes volumes of 8, 8, 8 voxels, and the card says patch: \[9, 9, 9\]"),
        (
            CARD + "  3: cyst\npatch: 8\n",
            rf"{file} cannot be used: WrongValue: the network gives 3 channels, and by its "
            r"card \(output: softmax\) they are 4",
        ),
        (
            CARD.replace("orientation", "  - {id: t3}\norientation"),
            f"{file} takes 2 channels, and the card has 3 inputs",
        ),
    ):
        (folder / "tomaat.yaml").write_text(card)
        with pytest.raises(FolderRefused, match=reason):
            loaded(folder)


def test_a_script_that_gives_other_channels_than_the_card_says_is_told_at_its_ticket(tmp_path, reader):
    task = loaded(a_folder(tmp_path, a_network(2)))
    with pytest.raises(WrongValue, match=r"the network gives 2 channels, and by its card .* they are 3"):
        task.perform(**sent(files(tmp_path, PLACES["RAS"]), reader))


def test_only_onnx_is_loaded_without_trust(of_each_kind):
    task = make_task(of_each_kind)
    if task.kind == "ONNX":
        task.load(CPU)
        return
    with pytest.raises(FolderRefused, match=f"{of_each_kind.name} is not trusted: a .* is a program, "):
        task.load(CPU)


def test_a_file_that_has_only_the_ending_of_its_kind_is_refused(tmp_path):
    folder = a_folder(tmp_path, a_network())
    exported = folder / "network.pt2"
    shutil.copy(folder / "network.ts", exported)
    with pytest.raises(FolderRefused, match=r"Twots holds the files of TorchScript and torch\.export"):
        make_task(folder)
    (folder / "network.ts").rename(exported)
    with pytest.raises(FolderRefused, match=r"Twots/network\.pt2 is none of torch\.export\.save"):
        make_task(folder)
    exported.rename(folder / "network.ts")
    torch.save(a_network().state_dict(), folder / "network.ts")
    with pytest.raises(FolderRefused, match=r"Twots/network\.ts holds weights alone, and no network"):
        make_task(folder)
    (folder / "network.ts").write_bytes(b"no archive")
    with pytest.raises(FolderRefused, match=r"Twots/network\.ts is no file of torch"):
        make_task(folder)
    pytest.importorskip("onnxruntime")
    (folder / "network.ts").rename(folder / "network.onnx")
    with pytest.raises(FolderRefused, match=r"Twots/network\.onnx cannot be used: InvalidProtobuf"):
        make_task(folder).load(CPU)
