"""A folder of nnU-Net is read without nnunetv2: what it says, why it cannot serve, whether it holds code."""

import itertools
import json
import pickle
from functools import partial
from pathlib import Path

import pytest

from tests import nnunet_folders
from tests.nnunet_folders import Called, change_checkpoint
from tomaat.services.find import fault_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task
from tomaat.services.folders.nnunet import NNUNET
from tomaat.services.folders.nnunet_checkpoint import read_checkpoint

make_folder = partial(nnunet_folders.make_folder, network=False)


def test_a_checkpoint_is_read_without_running_anything_of_it(tmp_path):
    place, mark = make_folder(tmp_path / "Tiny"), tmp_path / "called"
    assert NNUNET.needs_trust(place) is None
    change_checkpoint(place / "fold_0/checkpoint_final.pth", logging=Called(mark))
    assert "'pathlib.Path'" in NNUNET.needs_trust(place)
    with pytest.raises(FolderRefused, match="is not trusted"):
        make_task(place).demand_trust()
    assert not mark.exists()


@pytest.mark.parametrize(
    "named",
    ["torch.nn.functional.torch.hub.load", "torch.nn.Module.to", "os.system", "dynamic_network_architectures.x.Y"],
)
def test_a_class_that_plans_name_needs_trust_unless_it_is_nnunets_or_torchs(named, tmp_path):
    place = make_folder(tmp_path / "Tiny")
    plans = json.loads((place / "plans.json").read_text())
    plans["configurations"]["base"]["architecture"]["network_class_name"] = named
    (place / "plans.json").write_text(json.dumps(plans))
    assert named in NNUNET.needs_trust(place)


# Folders that cannot serve


def test_each_folder_that_cannot_serve_says_why(tmp_path):
    numbers = itertools.count()

    def refused(match, change):
        place = make_folder(tmp_path / f"Tiny{next(numbers)}")
        plans, dataset = (json.loads((place / name).read_text()) for name in ("plans.json", "dataset.json"))
        change(place, plans, dataset)
        for name, changed in (("plans.json", plans), ("dataset.json", dataset)):
            if (place / name).exists():
                (place / name).write_text(json.dumps(changed))
        with pytest.raises(FolderRefused, match=match):
            NNUNET.make(place, "Tiny")

    def checkpoint(**facts):
        return lambda place, *_: change_checkpoint(place / "fold_0/checkpoint_final.pth", **facts)

    def base(**facts):
        return lambda _place, plans, _dataset: plans["configurations"]["base"].update(facts)

    refused("dataset.json is missing", lambda place, *_: (place / "dataset.json").unlink())
    refused("no fold_0", lambda place, *_: (place / "fold_0").rename(place / "other"))
    refused(
        "fold_0 holds none of checkpoint_final.pth and checkpoint_best.pth",
        lambda place, *_: (place / "fold_0/checkpoint_final.pth").rename(place / "fold_0/checkpoint_latest.pth"),
    )
    refused("no checkpoint of torch", lambda place, *_: (place / "fold_0/checkpoint_final.pth").write_text("x"))
    refused("lacks 'network_weights'", checkpoint(init_args={}))
    refused(
        "no configuration '3d_lowres'.* it has base, 3d_fullres", checkpoint(init_args={"configuration": "3d_lowres"})
    )
    refused("needs the result of '3d_lowres'", base(previous_stage="3d_lowres"))
    refused(
        "image_reader_writer is 'NaturalImage2DIO'",
        lambda _, plans, __: plans.update(image_reader_writer="NaturalImage2DIO"),
    )
    refused("label_manager is 'Mine'", lambda _, plans, __: plans.update(label_manager="Mine"))
    refused("patch_size of 3d_fullres is 'x'", base(patch_size="x"))
    refused("names 1 channels, and plans.json normalizes 2", base(normalization_schemes=["A", "B"]))
    for labels, match in (
        ({"liver": 1}, "without a background 0"),
        ({"background": 0, "liver": 2}, "lacks the number 1"),
        ({"background": 0, "liver": 1, "spleen": 1}, "are both the label 1"),
        ({"background": 0, "liver": 40_000}, "labels are 1 to 32767"),
        ({"background": 0, "l" * 65: 1}, "1 to 64 characters"),
        ({"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order is None"),
    ):
        refused(match, lambda _, __, dataset, labels=labels: dataset.update(labels=labels))
    refused("channel_names is", lambda _, __, dataset: dataset.update(channel_names={"1": "CT"}))


def test_channels_are_ordered_by_their_numbers_and_have_ids_of_their_own(tmp_path):
    place = make_folder(tmp_path / "Tiny", names=("CT", "FLAIR", "folds"))
    nnunet_folders.edit(place / "dataset.json", channel_names={"2": "folds", "1": "FLAIR", "0": "CT"})
    task = make_task(place)
    assert task.channel_ids == ("ct", "flair", "folds_2")
    assert [each.modalities for each in task.inputs[:3]] == [("CT",), None, None]


def test_folds_of_different_trainings_are_refused(tmp_path):
    place = make_folder(tmp_path / "Tiny", folds=("0", "1"))
    change_checkpoint(place / "fold_1/checkpoint_final.pth", trainer_name="nnUNetTrainerNoMirroring")
    with pytest.raises(FolderRefused, match="fold_1 was trained by 'nnUNetTrainerNoMirroring'"):
        NNUNET.make(place, "Tiny")


def test_what_a_folder_says_of_itself_is_told(tmp_path):
    texts = {"description": "Livers\nin CT.", "licence": "CC-BY 4.0", "reference": "doi:1"}
    task = NNUNET.make(make_folder(tmp_path / "Tiny", extra=texts), "Livers")
    assert (task.task_identifier, task.description, task.licence, task.reference) == (
        "Livers",
        "Livers in CT.",
        "CC-BY 4.0",
        "doi:1",
    )
    plain = NNUNET.make(make_folder(tmp_path / "Plain"), "Plain")
    assert plain.description == "Marks liver, spleen, by nnU-Net (3d_fullres, one network)."
    assert fault_of(make_task(tmp_path / "Plain")) is None


def test_a_file_of_another_tool_is_no_checkpoint(tmp_path):
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({"network_weights": 1}))
    with pytest.raises(FolderRefused, match="no checkpoint of torch"):
        read_checkpoint(path)


def test_the_document_shows_how_a_checkpoint_gets_another_trainers_name(tmp_path, monkeypatch):
    place = make_folder(tmp_path / "Tiny")
    path = place / "fold_0/checkpoint_final.pth"
    change_checkpoint(path, trainer_name="nnUNetTrainerMine")
    document = (Path(__file__).resolve().parents[2] / "docs/nnunet.md").read_text()
    monkeypatch.chdir(place)
    exec(document.partition("```python\n")[2].partition("```")[0], {})  # noqa: S102 (what the document says)
    assert read_checkpoint(path).trainer == "nnUNetTrainer"
