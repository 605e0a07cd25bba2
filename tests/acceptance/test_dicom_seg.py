"""From the images of a series to a DICOM Segmentation that refers to them, through the whole service."""

import io
import json
import random
import tarfile
import textwrap

import numpy as np
import pydicom
import pytest
import requests

from tests.dicom_seg import complaints, marks
from tests.dicom_series import image, series, voxels_of, zipped
from tests.hostile_images import nifti

CASES = 24
WITHIN_MM = 0.001
PATIENT = "Canary"  #: without a ^, which libraries warn of
TASKS = """
import numpy as np
from Inputs import PointListInput, VolumeInput
from tomaat.services import Task
from tomaat.volumes import Labels

class MarkTwo(Task):
    task_identifier = "MarkTwo"
    description = "Marks two voxels, by their places."
    version = "7"
    inputs = (
        VolumeInput("scan", "Scan", orientation="ILP"),
        PointListInput("places", "Places in mm", coordinates="LPS"),
    )
    def perform(self, scan, places):
        turned = scan.reoriented("SAR")
        marked = np.zeros(turned.array.shape, np.uint16)
        for value, place in ((4, places[0]), (900, places[1])):
            marked[tuple(np.round(turned.to_index(place)).astype(int))] = value
        names = {4: "first", 20: "not there", 900: "second"}
        return {"marks": Labels(volume=turned.like(marked), names=names), "scan": scan}
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service):
    folder = tmp_path_factory.mktemp("dicom-seg")
    (folder / "MarkTwo.py").write_text(textwrap.dedent(TASKS))
    made = make_service(CUSTOM_TASKS_DIR=str(folder), LEASE_SECONDS="15")
    made.start()
    made.wait_until_ready("MarkTwo")
    return made


class Case:
    """A series on a random grid, oblique or along the patient's axes, and two places in it; all known here."""

    def __init__(self, number, name="Müller^Jane"):
        chosen = random.Random(number)
        axes = np.linalg.qr(np.array([[chosen.gauss(0, 1) for _ in range(3)] for _ in range(3)]))[0]
        if number % 3 == 0:
            axes = np.eye(3)[chosen.sample(range(3), 3)] * [chosen.choice((-1, 1)) for _ in range(3)]
        axes[:, 2] = np.cross(axes[:, 0], axes[:, 1]) * chosen.choice((-1, 1))  # the files' order, either way
        self.shape = (chosen.randint(2, 12), chosen.randint(2, 12), chosen.choice((1, 2, 9)))
        self.affine = np.eye(4)
        self.affine[:3, :3] = axes * [chosen.choice((0.1, 0.7421875, 3.3)) for _ in range(3)]
        self.affine[:3, 3] = [chosen.uniform(-2000, 2000) for _ in range(3)]
        self.indices = chosen.sample(list(np.ndindex(self.shape)), 2)
        self.places = [(self.affine @ [*index, 1])[:3] for index in self.indices]
        self.files = series(voxels_of(self.shape), self.affine, PatientName=name)
        self.zipped = number % 2 == 0

    def members(self):
        sent = [[float(part) for part in place] for place in self.places]
        main = {"inputs": {"places": sent}, "outputs": {"format": "dicom-seg"}}
        if self.zipped:
            return {"main.json": json.dumps(main).encode(), "file-scan.zip": zipped(self.files)}
        files = {f"file-scan/{name}": data for name, data in self.files.items()}
        return {"main.json": json.dumps(main).encode(), **files}

    def image_at(self, place):
        """Name the image in whose plane a place lies."""
        read = [pydicom.dcmread(io.BytesIO(data)) for data in self.files.values()]
        along = self.affine[:3, 2] / np.linalg.norm(self.affine[:3, 2])
        apart = [abs((place - np.array(one.ImagePositionPatient, float)) @ along) for one in read]
        return read[int(np.argmin(apart))].SOPInstanceUID


def packed(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def result_of(instance, members):
    answer = instance.post("MarkTwo", packed(members))
    assert answer.status_code == 202, answer.text
    result = requests.get(f"{instance.url}{answer.json()['links']['result']}?wait=50", timeout=90)
    assert result.status_code == 200, result.text
    with tarfile.open(fileobj=io.BytesIO(result.content)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


@pytest.mark.parametrize("number", range(CASES))
def test_marks_come_back_at_their_places_in_the_very_images_that_were_sent(instance, tmp_path, number):
    case = Case(number)
    files = result_of(instance, case.members())
    assert set(files) == {"result.json", "marks.dcm", "marks.nii.gz", "scan.nii.gz", "preview.png"}
    (tmp_path / "marks.dcm").write_bytes(files["marks.dcm"])
    made = pydicom.dcmread(tmp_path / "marks.dcm")
    assert (made.PatientName, made.SeriesDescription) == ("Müller^Jane", "MarkTwo: marks")
    assert [one.SegmentLabel for one in made.SegmentSequence] == ["first", "not there", "second"]
    for (segment, place, sent), number_of, expected in zip(marks(made), (1, 3), case.places, strict=True):
        assert segment == number_of
        assert np.abs(place - expected).max() <= WITHIN_MM
        assert sent == case.image_at(expected)
    told = next(line for line in json.loads(files["result.json"])["outputs"] if line["name"] == "marks")
    assert (told["file"], told["nifti"]) == ("marks.dcm", "marks.nii.gz")
    assert [(label["value"], label["name"], label["voxels"]) for label in told["labels"]] == [
        (4, "first", 1),
        (20, "not there", 0),
        (900, "second", 1),
    ]
    assert complaints(tmp_path / "marks.dcm") == []


def test_a_series_is_needed_for_a_result_that_refers_to_one(instance):
    main = {"inputs": {"places": [[0, 0, 0], [1, 1, 1]]}, "outputs": {"format": "dicom-seg"}}
    answer = instance.post("MarkTwo", packed({"main.json": json.dumps(main).encode(), "file-scan.nii": nifti()}))
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["code"] == "no-dicom"
    assert "the format dicom-seg refers to DICOM images, and none was sent" in error["detail"]


def test_images_that_do_not_say_which_they_are_fail_the_ticket_with_that_sentence(instance):
    case = Case(2)
    case.files = {"one": image(voxels_of((8, 8, 1))[:, :, 0], StudyInstanceUID=None)}
    answer = instance.post("MarkTwo", packed(case.members()))
    assert answer.status_code == 202, answer.text
    status = instance.wait(answer.json())
    assert status["state"] == "failed"
    assert status["error"]["detail"] == "An image has no valid StudyInstanceUID; a result cannot refer to it."


def test_the_patients_name_is_in_no_log(instance):
    result_of(instance, Case(0, PATIENT).members())
    assert not [door for door in instance.doors if PATIENT in instance.log(door)]
