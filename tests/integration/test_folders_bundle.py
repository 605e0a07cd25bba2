"""MONAI bundles as services: what they give, voxel by voxel what MONAI's own evaluator gives; and their walls."""

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("ignite")

from tests import monai_bundles as made
from tomaat.reader import VolumeReader
from tomaat.services.folders.bundle import make_bundle

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's and ignite's own


def oblique():
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return placed(turn @ tilt)


def placed(axes, spacing=(0.9, 1.3, 2.5)):
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes) * spacing
    affine[:3, 3] = (31.5, -20.25, 12)
    return affine


AFFINES = {
    "RAS": placed(np.eye(3)),
    "LPS, flipped": placed(np.diag([-1, -1, 1])),
    "turned": placed([[0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "oblique": oblique(),
}


@pytest.fixture(scope="module")
def reader():
    reader = VolumeReader(largest_voxel_bytes=10**8)
    yield reader
    reader.close()


def task_of(place):
    kind = make_bundle(place, "Tiny")
    task = type("Tiny", (kind,), {"is_trusted": True})()
    task.load("cpu")
    return task


def volumes_of(task, files, reader):
    return {each.id: reader.read(file) for each, file in zip(task.inputs, files, strict=False)}


@pytest.mark.parametrize(("form", "channels", "names"), [("json", 1, AFFINES), ("yaml", 2, ["turned", "oblique"])])
def test_a_service_gives_voxel_by_voxel_what_the_bundles_own_evaluator_gives(form, channels, names, tmp_path, reader):
    place = made.write_bundle(tmp_path / "tiny", channels=channels, form=form)
    task = task_of(place)
    for number, name in enumerate(names):
        files = [
            made.write_image(tmp_path / f"{number}-{n}.nii.gz", affine=AFFINES[name], seed=n) for n in range(channels)
        ]
        labels = task.perform(**volumes_of(task, files, reader))["segmentation"]
        [wanted] = made.run_by_monai(place, files)
        assert np.unique(wanted).tolist() == [0, 1, 2], name
        assert np.array_equal(labels.volume.array, wanted), name
        assert labels.names == {1: "spleen", 2: "liver"}
