"""MONAI bundles as services: their form, the names of labels, and the bundles that are refused, with the reasons."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("monai")
pytest.importorskip("ignite")

from tests import monai_bundles as made
from tomaat.refusals import WrongValue
from tomaat.services.folders import kinds
from tomaat.services.folders.bundle import BUNDLE
from tomaat.services.folders.bundle_metadata import read_metadata
from tomaat.services.folders.bundle_outputs import BundlePrediction, affine_of, meaning_of, outputs_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.volumes import Volume

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's own

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SCAN = Volume(array=np.zeros((2, 3, 4)), spacing_mm=(1, 2, 3), origin_mm=(4, 5, 6), direction=AXES)
TUMOR = {"0": "Tumor core", "1": "Whole tumor", "2": "Enhancing tumor"}


def make(place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "KINDS", (BUNDLE,))
        return kinds.make_task(place, "Tiny")


def load(place):
    task = make(place)
    type(task).is_trusted = True
    task.load("cpu")
    return task


def test_the_form_is_made_of_the_metadata(tmp_path):
    told = made.metadata(("T1c", "FLAIR", "T1c"), intended_use="Research\nonly", references=["A", "B"])
    task = make(made.write_bundle(tmp_path / "tiny", told=told, config=made.inference(3)))
    assert [each.id for each in task.inputs] == ["t1c", "flair", "t1c_2", "tile_overlap"]
    assert task.inputs[0].name == "T1c (CT)"
    assert task.inputs[0].modalities == ("CT",)
    assert task.inputs[3].default == 0.5
    assert (task.intended_use, task.reference, task.version) == ("Research only", "A; B", "0.2.0")


@pytest.mark.parametrize(("pixdim", "seen"), [
    ([2, 1, 6], (1, 6, 2)), ([-1, 1, 6], (2, 6, 2)), ("@mm", (1, 6, 2)), ("$[2, 1, 6]", None), ([2, 1], None),
])  # fmt: skip
def test_what_a_network_will_see_is_read_from_plain_numbers_and_else_not_foretold(tmp_path, pixdim, seen):
    config = made.inference() | {"mm": [2, 1, 6]}
    config["preprocessing"]["transforms"][3]["pixdim"] = pixdim
    task = make(made.write_bundle(tmp_path / "tiny", config=config))
    expected = task.expected_memory({"image": SCAN}, gpu_bytes=None)
    assert task.sizes.seen(SCAN) == seen
    assert (expected is None) == (seen is None)
    assert expected is None or expected.layers_bytes is None, "it is not loaded"
    assert task.label_names == {1: "spleen", 2: "liver"}


@pytest.mark.parametrize("transforms", [
    "$[monai.transforms.LoadImaged('image')]",
    ["$monai.transforms.Resized('image', [8, 8, 8])"],
    [{"_target_": "CropForegroundd", "keys": "image", "source_key": "image"}],
    [{"_target_": "monai.transforms.SpatialPadd", "keys": "image", "spatial_size": [8, 8, 8]}],
])  # fmt: skip
def test_nothing_is_foretold_where_transforms_are_code_or_change_a_volumes_size(tmp_path, transforms):
    config = made.inference()
    plain = config["preprocessing"]["transforms"]
    config["preprocessing"]["transforms"] = transforms if isinstance(transforms, str) else [*plain, *transforms]
    task = make(made.write_bundle(tmp_path / "tiny", config=config))
    assert task.expected_memory({"image": SCAN}, gpu_bytes=None) is None


def test_a_folder_is_made_a_service_without_torch_and_monai():
    program = "import sys, tomaat.services.folders.bundle; print({'torch', 'monai'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert told.stdout == "set()\n"


def test_a_bundle_is_loaded_only_where_it_is_trusted(tmp_path):
    with pytest.raises(FolderRefused, match="configuration is code: its expressions and its Python files run with"):
        make(made.write_bundle(tmp_path / "tiny")).load("cpu")


def named(tmp_path, values, after=(), names=made.NAMES, **changed):
    """Name the labels of a result by a bundle's metadata and its transforms after the network."""
    (tmp_path / "configs").mkdir(exist_ok=True)
    (tmp_path / "configs/metadata.json").write_text(json.dumps(made.metadata(names=names, **changed)))
    array = np.zeros((len(values), 2, 3, 4), np.float32)
    for channel, row in enumerate(values):
        array[channel].flat[: len(row)] = row
    found = BundlePrediction(array=array, affine=affine_of(SCAN), meaning=meaning_of(after))
    return outputs_of(found, SCAN, read_metadata(tmp_path))


def transforms():
    from monai.transforms import AsDiscreted, Lambdad, MapLabelValued  # noqa: PLC0415 (seconds)

    argmax = AsDiscreted("pred", argmax=True)
    return argmax, MapLabelValued("pred", [1, 2], [10, 4]), Lambdad("pred", lambda x: x)


def test_labels_are_named_by_the_channels_only_where_values_are_their_numbers(tmp_path):
    argmax, mapped, custom = transforms()
    assert named(tmp_path, [[1]], [argmax])["segmentation"].names == {1: "spleen", 2: "liver"}
    assert named(tmp_path, [[4]], [argmax, mapped])["segmentation"].names == {10: "spleen", 4: "liver"}
    assert named(tmp_path, [[1, 2, 4]], [argmax, custom], TUMOR)["segmentation"].names == {
        1: "label 1",
        2: "label 2",
        4: "label 4",
    }
    assert named(tmp_path, [[7]], [argmax])["segmentation"].names[7] == "label 7"
    fewer = named(tmp_path, [[2]], [argmax], network_data_format__outputs__pred__num_channels=4)
    assert fewer["segmentation"].names == {2: "label 2"}


def test_the_operator_names_values_by_label_def(tmp_path):
    told = {"1": "necrosis", "2": "oedema", "4": "enhancing"}
    found = named(tmp_path, [[1, 4]], transforms(), TUMOR, network_data_format__outputs__pred__label_def=told)
    assert found["segmentation"].names == {1: "necrosis", 2: "oedema", 4: "enhancing"}


def test_one_channel_that_is_cut_has_the_label_1(tmp_path):
    assert named(tmp_path, [[1]], names={"0": "lesion"})["segmentation"].names == {1: "lesion"}


def test_regions_that_overlap_become_one_segmentation_each(tmp_path):
    found = named(tmp_path, [[1, 0], [1, 1], [0, 0]], names=TUMOR)
    assert {name: labels.names for name, labels in found.items()} == {
        "tumor_core": {1: "Tumor core"},
        "whole_tumor": {1: "Whole tumor"},
        "enhancing_tumor": {1: "Enhancing tumor"},
    }
    assert [labels.volume.array.sum() for labels in found.values()] == [1, 2, 0]


def test_channels_with_a_background_become_one_segmentation(tmp_path):
    found = named(tmp_path, [[0, 0, *[1] * 22], [1, 0], [0, 1]])["segmentation"]
    assert found.volume.array.ravel()[:3].tolist() == [1, 2, 0]


def test_a_segmentation_of_fractions_or_negative_numbers_is_no_result(tmp_path):
    for values, reason in [
        ([[0.5]], "holds fractions"),
        ([[-1]], "from -1.0 to 0.0"),
        ([[2], [0]], "several channels"),
    ]:
        with pytest.raises(WrongValue, match=reason):
            named(tmp_path, values)


def test_another_image_is_a_volume_on_the_inputs_grid(tmp_path):
    found = named(tmp_path, [[0.5]], names={"0": "MR"}, network_data_format__outputs__pred__format="magnitude")
    assert found["image"].array[0, 0, 0] == 0.5
    assert found["image"].to_physical((0, 0, 0)) == (4, 5, 6)


PRED, IMAGE = "network_data_format__outputs__pred", "network_data_format__inputs__image"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({f"{PRED}__type": "object"}, "a detection network, which finds boxes"),
        ({f"{PRED}__type": "probabilities"}, "a classification network"),
        ({f"{PRED}__format": "labels", f"{PRED}__spatial_shape": [1, 4]}, "a classification network"),
        ({f"{IMAGE}__type": "tuples"}, "a generative network, whose input is 'tuples'"),
        ({"task": "Brain image synthesis", f"{PRED}__format": "image"}, "a generative network"),
        ({f"{PRED}__type": "points"}, "a network that finds points"),
        ({f"{IMAGE}__spatial_shape": [256, 256]}, "images of 2 dimensions"),
        ({f"{IMAGE}__num_channels": 3}, "names the channels 0 of 3; .* the bundle is interactive"),
        ({f"{IMAGE}__num_channels": "one"}, "num_channels is 'one'"),
        ({"network_data_format__outputs__more": {}}, "outputs are pred, more"),
        ({"network_data_format__inputs": {}}, "network_data_format has no inputs"),
        ({f"{PRED}__channel_def": {"first": "x"}}, "channel_def is no table"),
    ],
)
def test_a_bundle_of_another_kind_is_refused_by_its_kind(changes, reason, tmp_path):
    place = made.write_bundle(tmp_path / "tiny", told=made.metadata(**changes))
    with pytest.raises(FolderRefused, match=rf"^configs/metadata\.json: .*{reason}"):
        BUNDLE.make(place, "Tiny")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"_target_": "EnsembleEvaluator"}, "the evaluator is 'EnsembleEvaluator'"),
        ({"_target_": "scripts.evaluator.SupervisedEvaluator"}, "the evaluator is 'scripts.evaluator"),
        ({"prepare_batch": "$scripts.prepare"}, "evaluator#prepare_batch is set"),
        ({"decollate": False}, "decollates not"),
    ],
)
def test_an_evaluator_that_does_something_else_is_refused(changes, reason, tmp_path):
    config = made.inference()
    config["evaluator"].update(changes)
    with pytest.raises(FolderRefused, match=reason):
        BUNDLE.make(made.write_bundle(tmp_path / "tiny", config=config), "Tiny")


def test_files_that_are_missing_or_wrong_are_refused_by_name(tmp_path):
    place = made.write_bundle(tmp_path / "tiny")
    assert BUNDLE.is_one(place)
    (place / "models/model.pt").unlink()
    with pytest.raises(FolderRefused, match=r"tiny/models holds no weights .* large_files\.yml"):
        BUNDLE.make(place, "Tiny")
    (place / "configs/inference.json").write_text("{")
    with pytest.raises(FolderRefused, match=r"^configs/inference\.json cannot be read"):
        BUNDLE.make(place, "Tiny")
    (place / "configs/inference.json").unlink()
    with pytest.raises(FolderRefused, match=r"tiny has no configs/inference\.json"):
        BUNDLE.make(place, "Tiny")
    (place / "configs/metadata.json").write_text("[]")
    with pytest.raises(FolderRefused, match=r"^configs/metadata\.json is no object"):
        BUNDLE.make(place, "Tiny")


def test_weights_are_tensors_that_fit_and_lie_in_the_folder(tmp_path):
    model = made.write_bundle(tmp_path / "tiny") / "models/model.pt"
    state = torch.load(model, weights_only=True)
    torch.save({"model": state, "epoch": 3}, model)  # as MONAI's checkpoints are
    load(tmp_path / "tiny")
    torch.save({name: value for name, value in state.items() if "conv" not in name}, model)
    with pytest.raises(FolderRefused, match=r"model\.pt does not fit the network of the configuration: .*Missing key"):
        load(tmp_path / "tiny")
    torch.save(torch.nn.Conv3d(1, 1, 1), model)
    with pytest.raises(FolderRefused, match=r"models/model\.pt is no checkpoint that holds tensors alone"):
        load(tmp_path / "tiny")
    model.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(FolderRefused, match="fetch the file itself where this is a pointer"):
        load(tmp_path / "tiny")
    model.rename(model.with_name("other.pt"))
    with pytest.raises(FolderRefused, match=r"models/model\.pt is missing"):
        load(tmp_path / "tiny")


def test_weights_that_nothing_loads_or_that_lie_elsewhere_are_refused(tmp_path):
    config = made.inference()
    torch.save(made.weights(), tmp_path / "model.pt")
    config["checkpointloader"]["load_path"] = str(tmp_path / "model.pt")
    with pytest.raises(FolderRefused, match="lie outside of the folder"):
        load(made.write_bundle(tmp_path / "outside", config=config))
    del config["checkpointloader"], config["initialize"]
    place = made.write_bundle(tmp_path / "none", config=config)
    load(place)  # models/model.pt is the usual place
    (place / "models/model.pt").rename(place / "models/best.pt")
    with pytest.raises(FolderRefused, match="nothing loads the network's weights, which would be random"):
        load(place)


def test_a_network_of_torchscript_brings_its_weights_and_tells_its_tiles(tmp_path):
    config = made.inference()
    config["network"] = "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device)"
    del config["checkpointloader"], config["initialize"]
    place = made.write_bundle(tmp_path / "tiny", config=config)
    network = made.UNet(**made.NETWORK)
    network.load_state_dict(made.weights())
    torch.jit.trace(network.eval(), torch.zeros(1, 1, 16, 16, 16)).save(place / "models/model.ts")
    plain = load(made.write_bundle(tmp_path / "plain"))
    (place / "models/model.pt").unlink()
    task, told = load(place), []
    task.report = lambda _, stage: told.append(stage)
    scan = SCAN.like(np.arange(24.0).reshape(SCAN.array.shape) * 9)
    found, wanted = (each.perform(image=scan)["segmentation"].volume.array for each in (task, plain))
    assert np.array_equal(found, wanted)
    assert told == ["preprocessing", "network", "postprocessing"]


def test_a_preprocessing_that_loads_in_another_way_is_refused(tmp_path):
    config = made.inference()
    config["preprocessing"]["transforms"][0] = {"_target_": "Identityd", "keys": "image"}
    with pytest.raises(FolderRefused, match="LoadImaged for nothing; a service is made"):
        load(made.write_bundle(tmp_path / "tiny", config=config))
