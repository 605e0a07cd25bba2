import json
import os

import numpy as np
import pytest

from tests.beside_images import CASES
from tests.stub_server import SERVICES, declared
from tomaat.client import Refused
from tomaat.client.interface import arrange

SUM, BRAIN = (service["interface"] for service in SERVICES)
DICOM = bytes(128) + b"DICM"


def values(interface, **given):
    return json.loads(arrange("Sum", interface, given).main)["inputs"]


def faults(interface, given):
    with pytest.raises(Refused) as raised:
        arrange("Sum", interface, given)
    assert raised.value.exit_code == 3
    return [(error["input"], error["code"]) for error in raised.value.errors]


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "Head.NII.gz"
    path.write_bytes(b"voxels")
    return path


@pytest.mark.parametrize(
    ("given", "sent"),
    [("2.5", 2.5), ("-3", -3), (2, 2), ("1e3", 1000.0)],
)
def test_a_text_becomes_the_number_that_it_says(given, sent):
    assert values(SUM, f1=given) == {"f1": sent}


@pytest.mark.parametrize("given", ["abc", "NaN", "true", True, "[1]", ""])
def test_what_is_no_number_is_told_before_anything_is_sent(given):
    assert faults(SUM, {"f1": given}) == [("f1", "not-a-number")]


@pytest.mark.parametrize(
    ("minimum", "maximum", "words"),
    [
        (0.1, 20, "30 is outside 0.1 to 20 mm."),
        (None, 20.0, "30 is not at most 20 mm."),
        (31, None, "30 is not at least 31 mm."),
    ],
)
def test_a_number_beyond_its_range_is_told_before_anything_is_sent(minimum, maximum, words):
    interface = {"f1": declared("f1", "float", minimum=minimum, maximum=maximum, unit="mm")}
    with pytest.raises(Refused) as refused:
        arrange("Sum", interface, {"f1": "30"})
    assert refused.value.errors == [{"input": "f1", "code": "out-of-range", "detail": f"f1: {words}"}]
    bound = minimum if maximum is None else maximum
    assert values(interface, f1=bound) == {"f1": bound}


def test_what_is_none_of_the_choices_is_told_before_anything_is_sent():
    assert faults(SUM, {"f1": 1, "op": "div"}) == [("op", "not-a-choice")]


def test_texts_stay_texts_where_texts_are_wanted():
    digits = {"op": declared("op", "singlechoice", choices=["12"]), "note": declared("note", "str")}
    assert values(digits, op="12", note="1") == {"op": "12", "note": "1"}


@pytest.mark.parametrize(
    ("given", "sent"),
    [("true", True), ("YES", True), ("no", False), ("False", False), (True, True), ("1", 1), ("maybe", "maybe")],
)
def test_yes_and_no_are_booleans(scan, given, sent):
    assert values(BRAIN, scan=scan, fast=given) == {"fast": sent}


@pytest.mark.parametrize("given", ["1,2,3;4,5,6.5", " [[1,2,3],[4,5,6.5]]", [(1, 2, 3), (4, 5, 6.5)]])
def test_points_are_written_in_three_ways(scan, given):
    assert values(BRAIN, scan=str(scan), points=given) == {"points": [[1, 2, 3], [4, 5, 6.5]]}


def test_numbers_out_of_arrays_are_numbers(scan):
    assert values(SUM, f1=np.float32(0.5)) == {"f1": 0.5}
    assert values(BRAIN, scan=scan, fast=np.bool_(True), points=np.ones((1, 3))) == {
        "fast": True,
        "points": [[1, 1, 1]],
    }


def test_what_is_given_as_none_is_left_out(scan):
    assert values(BRAIN, scan=scan, mask=None, fast=None) == {}


def test_every_fault_is_told_at_once(tmp_path, scan):
    (tmp_path / "notes.txt").touch()
    given = {"scan": tmp_path / "notes.txt", "mask": tmp_path / "none.nii", "points": [object()], "cut": 1}
    assert faults(BRAIN, given) == [
        (None, "unknown-input"),
        ("scan", "extension"),
        ("mask", "no-such-file"),
        ("points", "not-json"),
    ]
    assert faults(BRAIN, {"scan": 3}) == [("scan", "not-a-path")]
    assert faults(BRAIN, {}) == [("scan", "missing")]
    assert faults(SUM, {"f1": float("nan")}) == [("f1", "not-json")]


def test_a_file_is_called_after_its_input_and_its_longest_extension(scan):
    assert arrange("Brain", BRAIN, {"scan": scan}).files == (("file-scan.nii.gz", scan),)


def test_the_form_of_a_nifti_is_chosen_beside_its_file(scan):
    main = arrange("Brain", BRAIN, {"scan": scan, "scan.form": "qform"}).main
    assert json.loads(main)["inputs"] == {"scan": {"form": "qform"}}


def test_a_home_folder_is_found_behind_an_equals_sign(tmp_path, scan, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert arrange("Brain", BRAIN, {"scan": "~/Head.NII.gz"}).files == (("file-scan.nii.gz", scan),)


def test_of_a_folder_the_dicom_files_are_sent_under_names_that_tell_nothing(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/IM2", "Doe^Jane.dcm", "DICOMDIR"):
        (tmp_path / name).write_bytes(DICOM)
    (tmp_path / "viewer.exe").write_bytes(b"MZ")
    payload = arrange("Brain", BRAIN, {"scan": tmp_path, "scan.series": "1.2.840", "scan.volume": "2"})
    assert payload.files == (
        ("file-scan/00001.dcm", tmp_path / "Doe^Jane.dcm"),
        ("file-scan/00002.dcm", tmp_path / "b" / "IM2"),
    )
    assert json.loads(payload.main) == {"inputs": {"scan": {"series": "1.2.840", "volume": 2}}}
    assert payload.left_out == {"scan": ["viewer.exe"]}
    assert payload.remarks() == ["scan: not sent, since no DICOM: viewer.exe."]


@pytest.mark.parametrize("case", CASES)
def test_what_a_folder_holds_beside_images_is_named_and_what_may_be_one_is_refused(case, tmp_path):
    files, left_out, doubtful = CASES[case]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    if not doubtful:
        assert arrange("Brain", BRAIN, {"scan": tmp_path}).left_out == {"scan": left_out}
        return
    with pytest.raises(Refused) as refused:
        arrange("Brain", BRAIN, {"scan": tmp_path})
    (fault,) = refused.value.errors
    assert fault["code"] == "not-dicom"
    count = "1 file" if len(doubtful) == 1 else f"{len(doubtful)} files"
    assert fault["detail"].startswith(f"scan: {count} of {tmp_path} may be an image that is broken")
    assert f": {', '.join(doubtful)}. Copy the series again" in fault["detail"]


def test_a_link_that_leads_nowhere_may_be_an_image_and_one_to_a_folder_is_named(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "1").write_bytes(DICOM)
    (folder / "all").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    assert arrange("Brain", BRAIN, {"scan": folder}).left_out == {"scan": ["all", "pipe"]}
    (folder / "2").symlink_to(tmp_path / "gone")
    assert faults(BRAIN, {"scan": folder}) == [("scan", "not-dicom")]


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    (tmp_path / "1").write_bytes(DICOM)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        arrange("Brain", BRAIN, {"scan": tmp_path})


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"scan": ""}, "scan"),
        ({"scan": "Head.NII.gz", "mask": ""}, "mask"),
        ({"scan": "Head.NII.gz", "scan.series": ""}, "scan"),
        ({"scan": "Head.NII.gz", "scan.volume": ""}, "scan"),
        ({"scan": "Head.NII.gz", "fast": ""}, "fast"),
        ({"scan": "Head.NII.gz", "points": ""}, "points"),
    ],
)
def test_an_empty_value_as_of_an_unset_variable_is_refused(given, where, scan, monkeypatch):
    monkeypatch.chdir(scan.parent)
    (scan.parent / "image").write_bytes(DICOM)
    assert faults(BRAIN, given) == [(where, "empty")]


def test_an_empty_text_is_a_text():
    assert values({"t": declared("t", "str")}, t="") == {"t": ""}


def test_a_folder_without_dicom_files_and_one_for_an_input_that_takes_none_are_refused(tmp_path):
    assert faults(BRAIN, {"scan": tmp_path}) == [("scan", "no-dicom")]
    plain = {"scan": {**BRAIN["scan"], "extensions": [".nii"]}}
    assert faults(plain, {"scan": tmp_path}) == [("scan", "not-a-file")]
    assert faults(plain, {"scan": tmp_path, "scan.series": "1"}) == [(None, "unknown-input"), ("scan", "not-a-file")]


def test_the_format_of_the_result_is_asked_for_beside_the_inputs():
    assert json.loads(arrange("Sum", SUM, {"f1": 1}, "nrrd").main) == {
        "inputs": {"f1": 1},
        "outputs": {"format": "nrrd"},
    }
