"""The inputs of a request, each as a field of the form."""

import tracemalloc

import pytest
from multipart import MultipartSegment

from Inputs import BooleanInput, FloatInput, PointListInput, SingleChoiceInput, StringInput, VolumeInput
from tests.hostile_archives import DICOM_IMAGE as DICOM
from tests.hostile_images import SHAPE, nifti
from tomaat.archives import ArchiveLimits, ArchiveTooLarge
from tomaat.services.payload import PayloadRefused, check_payload
from tomaat.web.api.fields import Fields

LIMITS = ArchiveLimits(largest_upload_bytes=10**6, largest_unpacked_bytes=10**6, most_members=5)
INPUTS = [
    FloatInput("cut", "Cut", default=0.5),
    StringInput("note", "Note", default=""),
    SingleChoiceInput("op", "Operation", choices=["1", "add"], default="add"),
    BooleanInput("fast", "Fast", default=False),
    PointListInput("seeds", "Seeds", required=False),
    VolumeInput("scan", "Scan", required=False),
    VolumeInput("mask", "Mask", required=False),
]


def field(name, content, *, file_name=None, pieces=2):
    """The events of one field, its content in pieces."""
    disposition = f'form-data; name="{name}"' + ("" if file_name is None else f'; filename="{file_name}"')
    step = max(1, -(-len(content) // pieces))
    parts = [content[at : at + step] for at in range(0, len(content), step)]
    return [MultipartSegment([("Content-Disposition", disposition)]), *parts, None]


def received(folder, *fields, limits=LIMITS, inputs=INPUTS):
    """The payload that comes of some fields, checked."""
    made = Fields(folder, limits)
    made.receive(event for each in fields for event in each)
    made.write_main({each.id: each.describe() for each in inputs})
    return check_payload(folder, inputs, limits, field_faults=made.faults)


def faults(folder, *fields, **how):
    with pytest.raises(PayloadRefused) as caught:
        received(folder, *fields, **how)
    return {(error["input"], error["code"]): error["detail"] for error in caught.value.errors}


def test_a_text_becomes_the_value_that_its_input_declares(tmp_path):
    texts = {"cut": b"1e-1", "note": b"0.5", "op": b"1", "fast": b"true", "seeds": b"[[1, 2, 3]]"}
    values = received(tmp_path, *(field(*each) for each in texts.items())).values
    assert values == {"cut": 0.1, "note": "0.5", "op": "1", "fast": True, "seeds": [[1, 2, 3]]}


def test_what_is_left_out_has_its_default(tmp_path):
    values = received(tmp_path).values
    assert values == {"cut": 0.5, "note": "", "op": "add", "fast": False, "seeds": None}


@pytest.mark.parametrize("file_name", ["head.nii", "../../Head.NII", "C:\\scans\\a.b.nii", "1.2.840.nii"])
def test_a_file_is_kept_by_its_inputs_id_and_its_extension(tmp_path, file_name):
    payload = received(tmp_path, field("scan", nifti(), file_name=file_name))
    assert payload.files == {"scan": tmp_path / "file-scan.nii"}
    assert payload.headers["scan"].dimensions == SHAPE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file-scan.nii", "main.json"]


def test_images_of_one_field_are_a_series_in_a_folder(tmp_path):
    names = ["IM-0001.dcm", "image2", "1.2.840.3"]
    payload = received(tmp_path, *(field("scan", DICOM, file_name=name) for name in names))
    assert payload.files == {"scan": tmp_path / "file-scan"}
    assert sorted(path.name for path in payload.files["scan"].iterdir()) == ["000001", "000002", "000003"]


def test_what_systems_put_beside_images_is_no_image(tmp_path):
    names = ["a.dcm", ".DS_Store", "study/Thumbs.db", "._a.dcm", "DICOMDIR"]
    payload = received(tmp_path, *(field("scan", DICOM, file_name=name) for name in names))
    assert [path.name for path in payload.files["scan"].iterdir()] == ["000001"]


def test_a_series_and_the_format_of_the_result_are_chosen_by_fields(tmp_path):
    choices = [field("scan.series", b"1.2.3"), field("scan.volume", b"2"), field("outputs.format", b"mha")]
    payload = received(tmp_path, field("scan", DICOM, file_name="a.dcm"), *choices)
    assert payload.chosen == {"scan": {"series": "1.2.3", "volume": 2}}
    assert payload.format == "mha"


def test_the_form_of_a_nifti_is_chosen_by_a_field(tmp_path):
    both = nifti(codes=(1, 1), qoffset=9.0)
    payload = received(tmp_path, field("scan", both, file_name="a.nii"), field("scan.form", b"qform"))
    assert payload.chosen == {"scan": {"form": "qform"}}
    assert payload.headers["scan"].origin_mm == (-9, 0, 0)


def test_every_fault_is_told_at_once_in_words_of_a_form(tmp_path):
    told = faults(
        tmp_path,
        field("cut", b"abc"),
        field("scan", b"scan.nii"),
        field("mask", nifti(), file_name="mask.nii"),
        field("mask", nifti(), file_name="mask.nii"),
        field("seeds", b"[[1, 2, 3]]", file_name="seeds.json"),
        field("note", b"\xff"),
        field("op", b"add"),
        field("op", b"add"),
        field("other", b"1"),
        field("another", b"1", file_name="another.nii"),
        field("series", DICOM, file_name="image1"),
        field("../../x", b"1", file_name="x.nii"),
    )
    assert told == {
        ("cut", "not-a-number"): "cut: 'abc' is not a number.",
        ("scan", "not-a-file"): "scan: must be sent as a file (with curl by an @ before its name).",
        ("mask", "two-files"): "mask: two files were sent; send one.",
        ("seeds", "wrong-place"): "seeds: a file was sent; send the value itself (with curl without an @).",
        ("note", "not-utf-8"): "'note': the value is not UTF-8 (byte 1).",
        ("op", "doubled-field"): "'op': the form has this field twice.",
        (None, "unknown-input"): told[None, "unknown-input"],
    }


def test_a_missing_file_and_a_wrong_one_are_told_in_words_of_a_form(tmp_path):
    inputs = [VolumeInput("scan", "Scan"), VolumeInput("mask", "Mask"), FloatInput("cut", "Cut")]
    told = faults(tmp_path, field("mask", b"picture", file_name="mask.jpg"), inputs=inputs)
    assert told["scan", "missing"].startswith("scan: its file is missing; send scan=@… (.nii.gz, ")
    assert told["mask", "extension"].startswith("mask: the file's name ends in none of .nii.gz, ")
    assert told["cut", "missing"] == "cut: its value is missing in the form."


def test_what_is_no_image_is_told_by_the_name_that_its_client_knows(tmp_path):
    """A volume from memory, as JavaScript and Python name it: by nothing, or by the field."""
    told = faults(tmp_path, field("scan", nifti(), file_name="blob"), field("note", b"1", file_name="blob"))
    rule = "is no DICOM image; send images only, or a volume in a file whose name ends in one of .nii.gz, .nii, "
    assert told["scan", "not-dicom"].startswith(f"scan: 'blob' {rule}")
    assert told["note", "wrong-place"] == "note: a file was sent; send the value itself (with curl without an @)."
    assert len(told) == 2
    names = {"study/1": DICOM, "study/VERSION": b"of a viewer", "study/2": b""}
    (tmp_path / "series").mkdir()
    sent = [field("scan", content, file_name=name) for name, content in names.items()]
    with pytest.raises(PayloadRefused) as caught:
        received(tmp_path / "series", *sent)
    assert [error["detail"].partition(" is")[0] for error in caught.value.errors] == ["scan: 'VERSION'", "scan: '2'"]
    assert caught.value.errors[1]["detail"] == "scan: '2' is empty; copy the series again from its source."


def test_images_and_another_file_are_told_apart(tmp_path):
    told = faults(tmp_path, field("scan", DICOM, file_name="1"), field("scan", b"for you", file_name="README.txt"))
    rule = "DICOM images and a file '.txt' were sent; leave out the one or the others."
    assert told == {("scan", "two-files"): f"scan: {rule}"}


def test_a_volume_that_is_sent_as_a_text_is_told_so_and_no_fault_of_its_letters(tmp_path):
    told = faults(tmp_path, field("scan", b"\x1f\x8b\xff"))
    assert told == {("scan", "not-a-file"): "scan: must be sent as a file (with curl by an @ before its name)."}
    with pytest.raises(ArchiveTooLarge) as caught:
        received(tmp_path / "nowhere", field("scan", bytes(2**20 + 1)))
    assert caught.value.detail.endswith("; a volume must be sent as a file (with curl by an @ before its name).")


def test_files_that_came_nested_in_one_field_are_told_so(tmp_path):
    """As curl sends ``-F scan=@1.dcm,2.dcm``."""
    nested = [("Content-Disposition", 'form-data; name="scan"'), ("Content-Type", "multipart/mixed; boundary=inner")]
    told = faults(tmp_path, [MultipartSegment(nested), b"--inner\r\n" + bytes(2**21), None])
    rule = "several files came in one field; send each in a field of its own (with curl -F for each)."
    assert told == {("scan", "nested-files"): f"'scan': {rule}"}


@pytest.mark.parametrize("how", [{}, {"file_name": "a.nii"}])
def test_names_of_absurd_length_are_faults_and_are_not_kept(tmp_path, how):
    made = Fields(tmp_path, LIMITS)
    tracemalloc.start()
    try:
        made.receive(event for number in range(1000) for event in field(f"{number}" + "x" * 15_000, b"1", **how))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000
    assert {fault["code"] for fault in made.faults} == {"unknown-input"}


def test_a_field_without_a_chosen_file_counts_as_left_out(tmp_path):
    assert received(tmp_path, field("scan", b"", file_name="")).files == {}


def test_a_value_of_absurd_depth_or_length_is_a_fault_and_no_crash(tmp_path):
    assert ("cut", "not-a-number") in faults(tmp_path, field("cut", b"[" * 100_000))
    (tmp_path / "other").mkdir()
    assert faults(tmp_path / "other", field("cut", b"9" * 100_000))


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("too-many-members", [field("scan", DICOM, file_name=f"{number}") for number in range(6)]),
        ("unpacked-too-large", [field(id, bytes(600_000), file_name="a.nii") for id in ("scan", "mask")]),
        ("too-large", [field(f"note{number}", bytes(600_000)) for number in range(2)]),
    ],
)
def test_more_than_a_limit_is_refused(tmp_path, code, fields):
    with pytest.raises(ArchiveTooLarge) as caught:
        received(tmp_path, *fields)
    assert caught.value.code == code


def test_the_digest_tells_forms_apart(tmp_path):
    forms = [[("a", b"1")], [("a", b"2")], [("b", b"1")], [("a", b"1"), ("b", b"")], [("a", b"1"), ("b", b"2")]]
    forms += [[("a", b"11:b0:2")], [("a1", b"")]]
    digests = set()
    for fields in forms:
        made = Fields(tmp_path, LIMITS)
        made.receive(event for each in fields for event in field(*each))
        digests.add(made.digest.digest())
    assert len(digests) == len(forms)
    again = Fields(tmp_path, LIMITS)
    again.receive(field("a", b"1", pieces=1))
    assert again.digest.digest() in digests
