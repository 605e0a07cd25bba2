"""BrainExtraction with its real networks on real heads, through the whole service."""

import gzip
import hashlib
import io
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from CustomTasks.BrainExtractionTask import networks
from tests.data import HEAD, MNI152, fetch

IN_THE_MASK = 0.2  #: of the brightest voxel: how nilearn makes its brain mask of the template


@pytest.fixture(scope="module")
def brain(service):
    """Send a head; give its image, the mask and result.json."""
    service.wait_until_ready("BrainExtraction")

    def send(head):
        ticket = service.submit("BrainExtraction", {}, head_nii_gz=head)
        status = service.wait(ticket, 180)
        assert status["state"] == "succeeded", status
        return load(head), service.result(ticket)

    return send


def load(data):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(data))


def agreement(one, other):
    """The Dice coefficient."""
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_the_brain_of_the_mni152_template_is_the_one_of_its_mask(brain):
    head, result = brain(fetch(*MNI152))
    mask = load(result["brain.nii.gz"])
    voxels = head.get_fdata()
    assert np.allclose(mask.affine, head.affine)
    assert agreement(mask.get_fdata() == 1, voxels > IN_THE_MASK * voxels.max()) > 0.95


def test_the_brain_of_a_whole_head_has_its_size_its_place_and_its_picture(brain):
    head, result = brain(fetch(*HEAD))
    mask = load(result["brain.nii.gz"])
    template = load(fetch(*MNI152))
    told = json.loads(result["result.json"])
    outputs = told["outputs"]
    found = mask.get_fdata() == 1
    assert np.allclose(mask.affine, head.affine)
    assert outputs[0]["labels"][0]["name"] == "brain"
    assert told["weights_sha256"] == hashlib.sha256(networks()["model.pt"].read_bytes()).hexdigest()
    ml = outputs[0]["labels"][0]["ml"]
    assert ml == pytest.approx(found.sum() * abs(np.linalg.det(head.affine[:3, :3])) / 1000, abs=0.01)
    assert 1000 < ml < 2200
    places = nibabel.affines.apply_affine(np.linalg.inv(template.affine) @ head.affine, np.argwhere(found))
    inside = template.get_fdata()[tuple(np.clip(places.round().astype(int), 0, np.array(template.shape) - 1).T)]
    assert (inside > 0).mean() > 0.9, "this head lies in the template's space"
    picture = Image.open(io.BytesIO(result["preview.png"]))
    assert picture.format == "PNG"


def test_what_shows_no_head_is_refused_with_a_sentence(service, brain):
    del brain
    empty = nibabel.Nifti1Image(np.zeros((40, 40, 40), np.int16), np.eye(4))
    status = service.wait(service.submit("BrainExtraction", {}, head_nii_gz=gzip.compress(empty.to_bytes())), 120)
    assert status["state"] == "failed"
    assert "head: all voxels have the same brightness" in status["error"]["detail"]
