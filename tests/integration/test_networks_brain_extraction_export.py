"""The networks of BrainExtraction as an ONNX file with a card: it gives what the task gives."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from CustomTasks import BrainExtractionTask as its
from networks.brain_extraction import export as brain_export
from tests.integration.card_folders import CPU, loaded
from tests.service import REPOSITORY
from tomaat.reader import VolumeReader
from tomaat.volumes.parts import largest_part

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SMALL = {"COARSE": (64, 32, 64), "FINE": (64, 96, 64)}  #: voxels that deepbet's networks see here, to be quick


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=1024**3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    """The task, and the service of the exported networks; both see fewer voxels than they know."""
    with pytest.MonkeyPatch.context() as patch:
        for name, shape in SMALL.items():
            patch.setattr(its, name, shape)
        folder = tmp_path_factory.mktemp("own") / "Brain"
        brain_export.main([str(folder)])
        task = its.BrainExtractionTask()
        task.load(CPU)
        yield task, loaded(folder)


@pytest.mark.parametrize(("letters", "cut"), [("RAS", 0.5), ("SPL", 0.2)])
def test_deepbets_two_networks_give_as_an_onnx_file_what_their_task_gives(brains, reader, letters, cut):
    """But for voxels at the cut: onnxruntime adds in another order than torch."""
    task, exported = brains
    head = reader.read(REPOSITORY / "CustomTasks/examples/phantom_head.nii.gz").reoriented(letters)
    expected = task.perform(head=head, cut=cut)["brain"]
    found = exported.perform(head=head, cut=cut)["brain"]
    assert (found.codes, found.names) == (expected.codes, expected.names)
    right = expected.onto(head).volume.array
    assert right.sum() > 1000
    assert np.count_nonzero(found.volume.array != right) < right.sum() / 1000


def test_a_head_without_a_brain_gives_an_empty_label(brains, reader):
    head = reader.read(REPOSITORY / "CustomTasks/examples/phantom_head.nii.gz")
    _, exported = brains
    assert not exported.perform(head=head.like(head.array * 0), cut=0.5)["brain"].volume.array.any()


def test_the_parts_of_the_exported_file_are_those_of_the_task():
    random = np.random.default_rng(2)
    for share in (0.02, 0.1, 0.3):
        mask = random.random((21, 17, 19)) < share
        found = brain_export.largest_part(torch.from_numpy(mask).float()[None, None])[0, 0].numpy() == 1
        assert found.sum() == largest_part(mask).sum()
        assert not (found & ~mask).any()
        assert np.array_equal(largest_part(found), found)
    assert not brain_export.largest_part(torch.zeros(1, 1, 4, 4, 4)).any()
    winding = torch.zeros(1, 1, 40, 40, 1)
    winding[:, :, ::2] = 1
    winding[0, 0, 1::4, -1] = winding[0, 0, 3::4, 0] = 1
    assert torch.equal(brain_export.largest_part(winding), winding)
    for part in (0.005, 0.995, 0.37, 0.81):
        voxels = torch.from_numpy(random.normal(size=(1, 1, 31, 22, 19)).astype(np.float32))
        assert torch.equal(brain_export.quantile(voxels, part), voxels.quantile(part))
    for length in range(1, 300, 7):
        row = torch.arange(float(length)).reshape(1, 1, -1)
        for count in (128, 77):
            expected = interpolate(row, count, mode="nearest-exact")[0, 0].long()
            assert torch.equal(brain_export.evenly(torch.tensor(length), count), expected), length
