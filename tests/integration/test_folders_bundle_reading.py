"""The volumes that a MONAI bundle's loaders get: their channels' order, and the options of the bundle's own readers."""

import re

import nibabel
import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("ignite")

from tests import monai_bundles as made
from tests.integration.test_folders_bundle import AFFINES, one_thread, reader, task_of, volumes_of
from tomaat.services.folders.bundle_outputs import affine_of
from tomaat.services.folders.folder_refused import FolderRefused

__all__ = ["one_thread", "reader"]

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's and ignite's own


def write(place, names, keys, joined=None):
    """Write a bundle whose channels have ``names``; it loads ``keys`` one by one and joins them in an order."""
    config = made.inference(len(names))
    before = config["preprocessing"]["transforms"]
    for transform in before[:2]:
        transform["keys"] = keys
    if joined:
        before.insert(2, {"_target_": "ConcatItemsd", "keys": joined, "name": "image"})
    return made.write_bundle(place, told=made.metadata(names), config=config, channels=len(names))


@pytest.mark.parametrize(
    ("names", "keys", "joined"),
    [
        (["T1w", "T2w"], ["t2", "t1"], ["t1", "t2"]),
        (["T1w", "T2w"], ["a", "b"], ["b", "a"]),
        (["T2", "T1"], ["t1", "t2"], ["t2", "t1"]),
        (["CT"], ["scan"], ["scan"]),
    ],
)
def test_channels_go_to_the_network_in_the_order_in_which_they_are_joined(names, keys, joined, tmp_path, reader):
    place = write(tmp_path / "tiny", names, keys, joined)
    files = [made.write_image(tmp_path / f"{n}.nii.gz", affine=AFFINES["turned"], seed=n) for n in range(len(names))]
    task = task_of(place)
    found = task.perform(**volumes_of(task, files, reader))["segmentation"].volume.array
    [wanted] = made.run_by_monai(place, files, keys=joined)
    assert np.array_equal(found, wanted)
    if len(files) > 1:
        [swapped] = made.run_by_monai(place, files[::-1], keys=joined)
        assert not np.array_equal(found, swapped)


@pytest.mark.parametrize(
    ("names", "keys", "joined", "reason"),
    [
        (["T1w", "T2w"], ["t2", "t1"], None, "keys t2, t1, which neither are the channels t1w, t2w of channel_def nor"),
        (["T1w", "T2w"], ["t2", "t1"], ["t1", "t1"], "nor are put in order by ConcatItemsd. Join them"),
        (["T1", "T2"], ["t1", "t2"], ["t2", "t1"], "ConcatItemsd joins t2, t1, and channel_def says t1, t2; one of"),
    ],
)
def test_channels_whose_order_nobody_tells_are_refused(names, keys, joined, reason, tmp_path):
    with pytest.raises(FolderRefused, match=reason):
        task_of(write(tmp_path / "tiny", names, keys, joined))


def read_with(place, channels=1, **options):
    """Write a bundle whose reader has options, and that orients nothing itself."""
    config = made.inference(channels)
    before = config["preprocessing"]["transforms"]
    before[0].update(options)
    del before[2]
    return made.write_bundle(place, config=config, channels=channels)


@pytest.mark.parametrize("channels", [1, 2])
def test_volumes_are_turned_to_the_closest_axes_where_the_bundles_reader_does_so(channels, tmp_path, reader):
    place = read_with(tmp_path / "tiny", channels, reader="NibabelReader", as_closest_canonical=True)
    task = task_of(place)
    for name in ("LPS, flipped", "turned", "oblique"):
        files = [
            made.write_image(tmp_path / f"{name}{n}.nii.gz", affine=AFFINES[name], seed=n) for n in range(channels)
        ]
        volumes = volumes_of(task, files, reader)
        [loader, *_] = task.bundle.preprocessing.transforms
        with task.bundle.held.holding(list(volumes.values())) as names:
            seen = loader._loader(names if channels > 1 else names[0])
        task.bundle.held.volumes = {}
        as_files = type(loader)(keys="image", reader="NibabelReader", as_closest_canonical=True)
        read = as_files({"image": [str(file) for file in files] if channels > 1 else str(files[0])})["image"]
        assert np.array_equal(seen.numpy(), read.numpy()), name
        assert np.allclose(seen.affine, read.affine, rtol=0, atol=1e-4), name
        [wanted] = made.run_by_monai(place, files)
        found = task.perform(**volumes)["segmentation"].volume
        assert np.array_equal(found.array, wanted), name
        canonical = nibabel.as_closest_canonical(nibabel.load(files[0]))
        assert np.allclose(affine_of(found), canonical.affine, rtol=0, atol=1e-3), name


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"reader": "ITKReader", "reverse_indexing": True}, "option reverse_indexing = True cannot be followed"),
        ({"reader": "PydicomReader", "swap_ij": "$not True"}, "option swap_ij = False cannot be followed"),
        ({"affine_lps_to_ras": False}, "option affine_lps_to_ras = False"),
        ({"reader": "ITKReader", "series_name": "1.2.3"}, "option series_name = '1.2.3'"),
        ({"channel_dim": 0}, "option channel_dim = 0"),
        ({"reader": "ITKReader", "as_closest_canonical": True}, "is an option of NibabelReader, not of ITKReader"),
        (
            {"reader": {"_target_": "NibabelReader", "as_closest_canonical": True}},
            "its reader 'NibabelReader' is no plain",
        ),
        ({"reader": "$monai.data.NibabelReader(as_closest_canonical=True)"}, "is no plain name of a reader of MONAI"),
        ({"reader": "scripts.reader.Reader"}, "its reader 'scripts.reader.Reader' is no plain name"),
        ({"reader": "NumpyReader"}, "its reader 'NumpyReader' is no plain name"),
    ],
)
def test_readers_that_may_give_other_voxels_are_refused(options, reason, tmp_path):
    with pytest.raises(FolderRefused, match=rf"^LoadImaged: .*{re.escape(reason)}.* by Orientationd\.$"):
        task_of(read_with(tmp_path / "tiny", **options))


def test_a_loader_that_code_makes_is_held_to_the_same(tmp_path):
    config = made.inference()
    for code, reason in [
        ("reader=monai.data.NibabelReader()", "it is made with a reader by an expression"),
        ("swap_ij=False", "option swap_ij = False"),
    ]:
        config["preprocessing"]["transforms"][0] = f"$monai.transforms.LoadImaged(keys='image', {code})"
        with pytest.raises(FolderRefused, match=reason):
            task_of(made.write_bundle(tmp_path / reason, config=config))


def test_options_that_change_nothing_are_taken(tmp_path):
    task_of(read_with(tmp_path / "tiny", reader="monai.data.ITKReader", affine_lps_to_ras=True, reverse_indexing=False))
    task_of(read_with(tmp_path / "other", reader=["NibabelReader"], channel_dim="no_channel", mmap=False))
