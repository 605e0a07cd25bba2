"""InnerEarSegmentation on a phantom, through the whole service."""

import gzip
import hashlib
import io
import json

import nibabel
import numpy as np
import pytest
import requests
from PIL import Image

from CustomTasks.InnerEarSegmentationTask import InnerEarSegmentationTask
from networks.inner_ear import evaluate
from networks.inner_ear.train import TESTS, dice


@pytest.fixture(scope="module")
def sent():
    """A phantom's image as NIfTI, whose positions are RAS, and what it shows."""
    case = evaluate.case(1, kind=TESTS)
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(case.volume.direction) * case.volume.spacing_mm
    affine[:3, 3] = case.volume.origin_mm
    image = nibabel.Nifti1Image(case.volume.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    return case, image


def test_the_inner_ear_comes_back_on_the_volumes_grid_with_its_weights_and_its_picture(service, sent):
    service.wait_until_ready("InnerEarSegmentation")
    case, image = sent
    inputs = {"center": [list(case.center_mm)], "onlyLargestComponent": True}
    ticket = service.submit("InnerEarSegmentation", inputs, cissvolume_nii_gz=gzip.compress(image.to_bytes()))
    status = service.wait(ticket, 120)
    assert status["state"] == "succeeded", status
    result = service.result(ticket)
    mask = nibabel.Nifti1Image.from_bytes(gzip.decompress(result["inner_ear.nii.gz"]))
    assert np.allclose(mask.affine, image.affine, atol=1e-4)
    assert dice(np.asarray(mask.dataobj) == 1, case.truth) > 0.8
    told = json.loads(result["result.json"])
    assert told["weights_sha256"] == hashlib.sha256(InnerEarSegmentationTask.weights.read_bytes()).hexdigest()
    assert told["outputs"][0]["labels"][0]["name"] == "inner ear"
    assert told["outputs"][0]["labels"][0]["ml"] == pytest.approx(case.truth.sum() * case.volume.voxel_ml, rel=0.2)
    assert Image.open(io.BytesIO(result["preview.png"])).format == "PNG"


def test_the_service_is_listed_with_the_inputs_of_its_first_users(service):
    listed = requests.get(f"{service.url}/supportedservices", timeout=10).json()
    interface = next(each["interface"] for each in listed if each["name"] == "InnerEarSegmentation")
    assert {name: (each["type"], each["required"]) for name, each in interface.items()} == {
        "cissvolume": ("volume", True),
        "onlyLargestComponent": ("boolean", False),
        "center": ("pointlist", False),
    }


def test_a_center_outside_of_the_volume_fails_with_a_sentence(service, sent):
    _, image = sent
    inputs = {"center": [[500, 0, 0]]}
    ticket = service.submit("InnerEarSegmentation", inputs, cissvolume_nii_gz=gzip.compress(image.to_bytes()))
    status = service.wait(ticket, 120)
    assert status["state"] == "failed"
    assert status["error"]["detail"].startswith("center: (500.0, 0.0, 0.0) mm lies outside of cissvolume, which spans")
