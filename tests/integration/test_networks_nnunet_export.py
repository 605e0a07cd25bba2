"""A folder of nnU-Net as an ONNX file with a card of its plans: nearly what the folder itself gives."""

import numpy as np
import pytest
import torch

from tests.integration.card_folders import CPU, loaded
from tests.nnunet_folders import REGIONS, edit, make_folder, write_scans
from tomaat.reader import VolumeReader
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.kinds import make_task

pytest.importorskip("nnunetv2", reason="nnunetv2 is not here; requirements-nnunet.txt brings it")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from networks.nnunet import export


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=2**26)
    yield made
    made.close()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks as small as these take longer on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


#: Of a volume's axes k, j, i as the plans order them, its own spacing: nothing is sampled.
OWN = {"spacing": (1.2, 2.0, 1.5), "patch": (32, 32, 32)}
FOLDERS = {
    "two channels, two folds, mirrored": (
        "flipped",
        {"names": ("CT", "MR T1"), "folds": ("0", "1"), "mirrored": (0, 2), **OWN},
        0.999,
    ),
    "regions, in RAS, transposed": (
        "flipped",
        {
            "labels": REGIONS,
            "order": [1, 2, 3],
            "reader": "NibabelIOWithReorient",
            "forward": (1, 0, 2),
            "spacing": (1.5, 2.0, 1.2),
            "patch": (32, 32, 32),
        },
        0.999,
    ),
    "several patches": ("flipped", {"spacing": (1.2, 2.0, 1.5)}, 0.97),
    "sampled": ("oblique", {"spacing": (2.0, 1.5, 1.5)}, 0.99),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_nnunet_gives_as_an_onnx_file_with_a_card_nearly_what_it_gives(tmp_path, reader, name):
    scan, planned, least = FOLDERS[name]
    place = make_folder(tmp_path / "Tiny", **planned)
    export.main([str(place), str(tmp_path / "Exported")])
    folder, card = make_task(place), loaded(tmp_path / "Exported")
    folder.load(CPU)
    ids = folder.channel_ids
    assert [each.id for each in card.inputs if each.type == "volume"] == list(ids)
    volumes = {id: reader.read(file) for id, file in zip(ids, write_scans(tmp_path, scan, len(ids)), strict=True)}
    expected = folder.perform(**volumes)["segmentation"]
    found = card.perform(**volumes)["segmentation"]
    assert len(np.unique(expected.volume.array)) > 1
    assert (found.names, found.codes) == (expected.names, expected.codes)
    agreed = np.mean(found.volume.array == expected.volume.array)
    assert agreed >= least, agreed


def test_what_a_card_cannot_say_of_a_folder_is_refused(tmp_path):
    flat = make_folder(tmp_path / "Flat", patch=(16, 16))
    odd = make_folder(tmp_path / "Odd")
    plans = odd / "plans.json"
    edit(
        plans,
        configurations={
            name: {**each, **({"normalization_schemes": ["RGBTo01Normalization"]} if name == "base" else {})}
            for name, each in export.make_task(odd).model.plans["configurations"].items()
        },
    )
    for place, reason in ((flat, "sees slices"), (odd, "RGBTo01Normalization is a scaling that a card does not have")):
        with pytest.raises(FolderRefused, match=reason):
            export.main([str(place), str(tmp_path / "Exported")])
    assert not (tmp_path / "Exported").exists()
