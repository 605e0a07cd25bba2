"""A payload that has come in, its DICOM images above all; what else is checked is tried through the web."""

import json
import stat
from dataclasses import replace

import pytest

from Inputs import FloatInput, VolumeInput
from tests.dicom_series import zipped
from tests.hostile_images import nifti
from tomaat.archives import ArchiveLimits
from tomaat.headers.remark import Remark
from tomaat.services.payload import PayloadRefused, check_payload, find_volume

LIMITS = ArchiveLimits(largest_upload_bytes=10**6, largest_unpacked_bytes=10**6, most_members=20)
INPUTS = [VolumeInput("scan", "Scan"), FloatInput("sigma", "Width"), VolumeInput("mask", "Mask", required=False)]
IMAGE = bytes(128) + b"DICM" + b"pixels"
UID = "1.2.840.113619.2.55"


@pytest.fixture
def payload(tmp_path):
    """Write a payload's files and check it."""

    def check(files, limits=LIMITS, links=None, **values):
        (tmp_path / "main.json").write_text(json.dumps({"inputs": {"sigma": 1} | values}))
        for name, data in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        return check_payload(tmp_path, INPUTS, limits, links=links)

    return check


def faults(folder, inputs, outputs):
    """Check what a client says about the result; the faults' codes and sentences."""
    (folder / "main.json").write_text(json.dumps({"inputs": {}, "outputs": outputs}))
    try:
        check_payload(folder, inputs)
    except PayloadRefused as refusal:
        return {error["code"]: error["detail"] for error in refusal.errors}
    return {}


def errors_of(payload, *arguments, **values):
    with pytest.raises(PayloadRefused) as refusal:
        payload(*arguments, **values)
    return [(error["input"], error["code"], error["detail"]) for error in refusal.value.errors]


def test_a_zip_of_images_becomes_the_folder_of_them(payload, tmp_path):
    checked = payload({"file-scan.zip": zipped({"Doe^Jane/IM1": IMAGE, "viewer.exe": b"MZ", "IM2": IMAGE + b"2"})})
    assert checked.files == {"scan": tmp_path / "file-scan"}
    assert checked.headers == {}
    images = sorted((tmp_path / "file-scan").iterdir())
    assert [path.name for path in images] == ["00000.dcm", "00002.dcm"]
    assert stat.S_IMODE((tmp_path / "file-scan").stat().st_mode) == 0o700
    assert not (tmp_path / "file-scan.zip").exists()
    again = check_payload(tmp_path, INPUTS)  # as a worker does
    assert again.files == checked.files
    remark = Remark("left-out", "1 file of the zip archive, no DICOM, left out: 'viewer.exe'.")
    assert again.remarks == checked.remarks == {"scan": [remark]}


def test_a_few_of_many_files_that_are_left_out_are_named(payload):
    limits = replace(LIMITS, most_members=90)
    others = {f"viewer/{number:02}.dll": b"MZ" for number in range(30)}
    ((remark,),) = payload({"file-scan.zip": zipped({"IM1": IMAGE} | others)}, limits).remarks.values()
    assert remark.detail.startswith(
        "30 files of the zip archive, no DICOM, left out: 'viewer/00.dll', 'viewer/01.dll', "
    )
    assert remark.detail.endswith("'viewer/19.dll' and 10 more.")


def test_remarks_are_the_servers_own(payload):
    forged = json.dumps({"scan": [{"code": "x", "detail": "All is well."}]}).encode()
    found = errors_of(payload, {"file-scan/a": IMAGE, "remarks.json": forged})
    assert [error[:2] for error in found] == [(None, "unknown-file")]


def test_a_client_chooses_the_form_of_a_nifti(payload):
    sheared = {"file-scan.NII": nifti(codes=(1, 1), srow=(1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0))}
    assert [error[1] for error in errors_of(payload, sheared)] == ["direction"]
    checked = payload({}, scan={"form": "qform"})
    assert checked.chosen == {"scan": {"form": "qform"}}
    assert checked.headers["scan"].direction[0][0] == -1


def test_a_volume_that_is_read_again_is_read_in_the_form_that_was_chosen(payload, tmp_path):
    sheared = {"file-scan.nii": nifti(codes=(1, 1), srow=(1, 0.5, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0))}
    checked = payload(sheared, scan={"form": "qform"})
    again = find_volume(tmp_path, INPUTS[0])
    assert (again.headers, again.chosen) == (checked.headers, checked.chosen)


@pytest.mark.parametrize(
    ("files", "form", "code"),
    [
        ({"file-scan.nii": nifti()}, "best", "not-a-form"),
        ({"file-scan.nii": nifti()}, "qform", "form"),
        ({"file-scan/a": IMAGE}, "qform", "form"),
        ({"file-scan.zip": b""}, "qform", "broken-zip"),
        ({}, "qform", "missing"),
    ],
)
def test_a_form_that_cannot_be_chosen_is_refused(payload, files, form, code):
    assert [error[:2] for error in errors_of(payload, files, scan={"form": form})] == [("scan", code)]


def test_without_a_remark_there_is_no_file_of_them(payload, tmp_path):
    payload({"file-scan.zip": zipped({"IM1": IMAGE})})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file-scan", "main.json"]


def test_a_folder_of_images_is_taken(payload, tmp_path):
    assert payload({"file-scan/b": IMAGE, "file-scan/a.dcm": IMAGE}).files == {"scan": tmp_path / "file-scan"}


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"file-scan/a": IMAGE, "file-scan/b": b"text"}, ("scan", "not-dicom", "scan: 'b' is no DICOM file")),
        (
            {"file-scan/a": IMAGE, "file-scan/b": b""},
            ("scan", "not-dicom", "scan: 'b' is empty; copy the series"),
        ),
        ({"file-scan.zip": b"7z\xbc\xaf\x27\x1c"}, ("scan", "broken-zip", "is a 7z archive, no zip; pack the images")),
        ({"file-scan.dcm": IMAGE}, ("scan", "extension", "'file-scan.dcm' is one DICOM image; send the images of its")),
        ({"file-scan/a": IMAGE, "file-scan.zip": zipped({"a": IMAGE})}, ("scan", "two-files", "were sent; send one")),
        ({"file-scan/a": IMAGE, "file-scan.nii": nifti()}, ("scan", "two-files", "were sent; send one")),
        ({"file-sigma/a": IMAGE}, (None, "not-a-file", "'file-sigma' is no file")),
        ({"scan/a": IMAGE}, (None, "not-a-file", "'scan' is no file; put main.json and the files at the archive's")),
        ({"file-scan.zip": zipped({"a": b"text"})}, ("scan", "no-dicom", "was sent; the zip archive holds 'a'. Send")),
        (
            {"file-scan.zip": zipped({"a": IMAGE, "b": b""})},
            ("scan", "not-dicom", "scan: 1 file of the zip archive may"),
        ),
        (
            {"file-scan.zip": zipped({"a.zip": zipped({"b": IMAGE})})},
            ("scan", "no-dicom", "the zip archive holds 'a.zip'."),
        ),
        ({"file-scan.zip": b"no zip"}, ("scan", "broken-zip", "scan: The zip archive is broken or cut; pack")),
    ],
)
def test_what_is_no_series_is_refused_beside_all_other_faults(payload, files, error):
    found = errors_of(payload, files, sigma="wide")
    assert ("sigma", "not-a-number", "sigma: 'wide' is not a number.") in found
    assert any((id, code) == error[:2] and error[2] in detail for id, code, detail in found), found


def test_a_folder_within_the_folder_is_refused(payload, tmp_path):
    (tmp_path / "file-scan" / "deeper").mkdir(parents=True)
    assert errors_of(payload, {"file-scan/deeper/a": IMAGE})[0][1] == "not-dicom"


def test_an_empty_folder_is_refused(payload, tmp_path):
    (tmp_path / "file-scan").mkdir()
    assert errors_of(payload, {})[0][1] == "no-dicom"


def test_a_link_to_an_image_is_refused(payload, tmp_path):
    (tmp_path / "file-scan").mkdir()
    (tmp_path / "image").write_bytes(IMAGE)
    (tmp_path / "file-scan" / "a").symlink_to(tmp_path / "image")
    assert ("scan", "not-dicom") in [error[:2] for error in errors_of(payload, {})]


def test_links_that_were_left_out_of_a_folder_of_images_are_told(payload, tmp_path):
    checked = payload({"file-scan/a": IMAGE}, links={"file-scan": ["latest"] + [f"x/{n}" for n in range(30)]})
    (remark,) = checked.remarks["scan"]
    assert remark.code == "left-out"
    assert remark.detail.startswith("31 links in file-scan/, left out: 'latest', 'x/0', ")
    assert remark.detail.endswith(" and 11 more.")
    assert check_payload(tmp_path, INPUTS).remarks == checked.remarks  # as a worker does


@pytest.mark.parametrize(
    ("files", "before"),
    [
        ({"file-scan.nii": nifti()}, []),
        (
            {"file-scan.zip": zipped({"IM1": IMAGE, "a.txt": b"text"})},
            [Remark("left-out", "1 file of the zip archive, no DICOM, left out: 'a.txt'.")],
        ),
    ],
    ids=["NIfTI", "zip"],
)
def test_links_beside_a_file_are_told_with_what_else_is(payload, files, before):
    told = Remark("left-out", "1 link in file-scan/, left out: 'more.nii.gz'.")
    assert payload(files, links={"file-scan": ["more.nii.gz"]}).remarks == {"scan": [*before, told]}


def test_links_beside_no_input_are_refused(payload):
    found = errors_of(payload, {"file-scan/a": IMAGE}, links={"file-sigma": ["a"]})
    assert [(id, code) for id, code, _ in found] == [(None, "unknown-file")]


def test_links_alone_are_no_images(payload):
    assert errors_of(payload, {}, links={"file-scan": ["a"]}) == [
        ("scan", "missing", "scan: links alone were sent, and no image; pack what they lead to (tar -h).")
    ]


@pytest.mark.parametrize(("others", "fits"), [(0, True), (250_000, False)])
def test_the_archive_what_comes_out_of_it_and_all_else_count_together(payload, others, fits):
    archive = zipped({"a": IMAGE + bytes(400_000)}, method=0)
    found = errors_of(payload, {"file-scan.zip": archive, "file-mask.nii": bytes(others)})
    assert (("scan", "unpacked-too-large") not in [error[:2] for error in found]) == fits


def test_the_images_count_as_members_of_the_payload(payload):
    found = errors_of(payload, {"file-scan.zip": zipped({str(n): IMAGE for n in range(19)})})
    assert [error[:2] for error in found] == [("scan", "too-many-members")]


def test_a_zip_is_taken_apart_only_when_the_payload_comes_in(payload):
    assert errors_of(payload, {"file-scan.zip": zipped({"a": IMAGE})}, None)[0][:2] == ("scan", "extension")


def test_a_series_may_be_chosen_of_dicom_images_only(payload):
    assert payload({"file-scan/a": IMAGE}, scan={"series": UID}).chosen == {"scan": {"series": UID}}
    assert "scan" not in payload({"file-scan/a": IMAGE}, scan={"series": UID}).values
    assert errors_of(payload, {"file-mask.nii": nifti()}, mask={"series": UID}) == [
        ("mask", "no-dicom", "mask: a series was chosen, but no DICOM images were sent.")
    ]


def test_a_series_may_not_be_chosen_of_nothing(payload):
    assert errors_of(payload, {"file-scan/a": IMAGE}, mask={"series": UID})[0][:2] == ("mask", "no-dicom")


@pytest.mark.parametrize("series", ["", "1.2.x", "1" * 65, 12, None, ["1.2"]])
def test_a_series_is_chosen_by_its_uid(payload, series):
    assert errors_of(payload, {"file-scan/a": IMAGE}, scan={"series": series})[0][:2] == ("scan", "not-a-uid")


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None, True])
def test_a_volume_of_a_series_is_chosen_by_its_number(payload, number):
    assert payload({"file-scan/a": IMAGE}, scan={"volume": 2}).chosen == {"scan": {"volume": 2}}
    assert errors_of(payload, {"file-scan/a": IMAGE}, scan={"volume": number})[0][:2] == ("scan", "not-a-volume")


def test_a_result_that_refers_to_dicom_images_needs_some(tmp_path):
    (tmp_path / "file-mask.nii").write_bytes(nifti())
    assert faults(tmp_path, INPUTS[2:], {"format": "nrrd"}) == {}
    assert faults(tmp_path, INPUTS[2:], {"format": "dicom-seg"}) == {
        "no-dicom": "outputs: the format dicom-seg refers to DICOM images, and none was sent; "
        "send a DICOM series for mask, or ask for one of nii.gz, nrrd, mha, seg.nrrd."
    }


@pytest.mark.parametrize("name", ["file-mask/a", "file-mask.zip"])
def test_a_series_that_is_faulty_itself_is_not_said_to_be_missing(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"text")
    assert list(faults(tmp_path, INPUTS[2:], {"format": "dicom-seg"})) in (["not-dicom"], ["extension"])


def test_a_series_is_enough_for_a_result_that_refers_to_it(tmp_path):
    (tmp_path / "file-mask").mkdir()
    (tmp_path / "file-mask" / "a").write_bytes(IMAGE)
    assert faults(tmp_path, INPUTS[2:], {"format": "dicom-seg"}) == {}


def test_a_service_without_volumes_takes_each_format(tmp_path):
    assert faults(tmp_path, [FloatInput("sigma", "Width", default=1.0)], {"format": "dicom-seg"}) == {}
