"""DICOM series on their way through the real service."""

import gzip
import io
import json
import tarfile

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tests.data import CT, CT_LABELS, fetch_sources
from tests.dicom_series import image, series, voxels_of, written, zipped
from tests.service import payload

VOXELS = voxels_of((24, 17, 5))
AFFINE = np.array([[-0.5, 0, 0, 10], [0, 0, 2.5, -20], [0, 0.75, 0, 30], [0, 0, 0, 1.0]])


def folder_payload(inputs, name, files):
    """Pack a payload with a folder of files, as `tar czf` does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        members = {"main.json": json.dumps({"inputs": inputs}).encode(), **{f"{name}/{n}": d for n, d in files.items()}}
        for member, data in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def smoothed(service, data, tmp_path):
    answer = service.post("GaussianSmoothing", data)
    assert answer.status_code == 202, answer.text
    status = service.status(answer.json(), "?wait=60")
    assert status["state"] == "succeeded", status
    files = service.result(answer.json())
    (tmp_path / "x.nii.gz").write_bytes(files["smoothed.nii.gz"])
    return nibabel.load(tmp_path / "x.nii.gz"), json.loads(files["result.json"])


def test_a_zipped_series_comes_back_where_it_lies(service, tmp_path):
    plan = image(VOXELS[:, :, 0], PixelData=None, Rows=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.5")
    files = {"AUTORUN.INF": b"[autorun]"} | series(VOXELS, AFFINE) | {"plan": plan}
    data = payload({"sigma": 0.1}, volume_zip=zipped(files))
    back, result = smoothed(service, data, tmp_path)
    assert np.allclose(np.diag([-1, -1, 1, 1]) @ back.affine, AFFINE, atol=1e-4)
    assert np.allclose(back.get_fdata(), VOXELS, atol=0.5)
    assert set(result["inputs"]) == {"main.json", "file-volume"}
    assert [(each["input"], each["code"]) for each in result["remarks"]] == [
        ("volume", "left-out"),
        ("volume", "set-aside"),
    ]
    assert result["remarks"][0]["detail"].endswith("left out: 'AUTORUN.INF'.")
    assert "number 6 (RT Plan Storage)" in result["remarks"][1]["detail"]


def test_a_folder_of_images_is_the_same_as_their_zip(service, tmp_path):
    files = dict(sorted(series(VOXELS, AFFINE).items()))
    image, result = smoothed(service, folder_payload({"sigma": 0.1}, "file-volume", files), tmp_path)
    assert np.allclose(image.get_fdata(), VOXELS, atol=0.5)
    _, other = smoothed(service, payload({"sigma": 0.1}, volume_zip=zipped(files)), tmp_path)
    assert result["inputs"]["file-volume"] == other["inputs"]["file-volume"]


def test_one_of_two_series_is_chosen_in_main_json(service, tmp_path):
    files = series(VOXELS) | {f"b{name}": data for name, data in series(VOXELS + 100, SeriesInstanceUID="1.9").items()}
    image, _ = smoothed(
        service, payload({"sigma": 0.1, "volume": {"series": "1.9"}}, volume_zip=zipped(files)), tmp_path
    )
    assert np.allclose(image.get_fdata(), VOXELS + 100, atol=0.5)


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        (lambda: series(VOXELS[:, :, :1], SliceThickness=None), "no-thickness", "does not say how thick its slice is"),
        (lambda: {n: d for n, d in series(VOXELS).items() if "0002" not in n}, "missing-slices", "1 slice is missing"),
        (lambda: series(VOXELS, PixelData=bytes(10)), "size", "it needs 816 bytes of pixels; 10 are there."),
    ],
)
def test_what_the_whole_series_shows_fails_the_ticket(service, files, code, words):
    ticket = service.submit("GaussianSmoothing", {"sigma": 1}, volume_zip=zipped(files()))
    error = service.wait(ticket)["error"]
    assert error["type"] == "/problems/refused"
    assert [(each["input"], each["code"]) for each in error["errors"]] == [("volume", code)]
    assert words in error["errors"][0]["detail"]


def test_a_broken_zip_is_refused_at_the_upload_and_leaves_nothing(service):
    answer = service.post("GaussianSmoothing", payload({"sigma": 1}, volume_zip=zipped(series(VOXELS))[:-50]))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "broken-zip"
    assert list((service.folder / "storage/incoming").iterdir()) == []


def test_a_real_ct_in_jpeg_2000_goes_through_upload_reading_and_a_task(service, tmp_path):
    files = fetch_sources(*CT)
    assert len(files) == 20
    image, _ = smoothed(service, payload({"sigma": 0.1}, volume_zip=zipped(files)), tmp_path)
    theirs = sitk.ImageSeriesReader()
    written(files, tmp_path / "ct")
    theirs.SetFileNames(theirs.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    assert np.allclose(image.get_fdata(), sitk.GetArrayFromImage(theirs.Execute()).transpose(2, 1, 0), atol=0.5)
    labels = nibabel.Nifti1Image.from_bytes(gzip.decompress(fetch_sources(*CT_LABELS)[""]))  # made by others
    image, labels = nibabel.as_closest_canonical(image), nibabel.as_closest_canonical(labels)
    assert image.shape == labels.shape
    assert np.allclose(image.affine, labels.affine, atol=1e-3)
    tissue = image.get_fdata()[labels.get_fdata() > 0]
    assert -100 < np.median(tissue) < 100  # Hounsfield units of soft tissue


def test_no_name_of_a_patient_reaches_a_log(service):
    for door in ("WebService.py", "QueueManager.py", "TaskScheduling.py"):
        assert "Jane" not in service.log(door)
