"""What the limited process tells of a series is taken apart without belief in it."""

import contextlib
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.dicom_told import ATTRIBUTES, LONGEST_TEXT, take_apart
from tomaat.reader.slice import NoImage

TOLD = {
    "number": 3,
    "instance": 8,
    "uid": "1.2.3",
    "kind": "CT Image Storage",
    "image_type": "ORIGINAL\\PRIMARY",
    "series": "1.2",
    "description": "axial",
    "modality": "CT",
    "columns": 4,
    "rows": 5,
    "frames": 1,
    "samples": 1,
    "dtype": "int16",
    "position_mm": [1, 2, 3.5],
    "axes": [1, 0, 0, 0, 1, 0],
    "spacing_mm": [0.5, 0.5],
    "thickness_mm": [2],
    "labels": [["b-value", "1000"], ["patient", "Doe^Jane"]],
    "fault": None,
    "header": {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}, "00280010": {"vr": "US", "Value": [5]}},
}


def test_what_was_told_becomes_a_slice_and_its_header():
    beside = {"number": 7, "kind": "RT Plan Storage", "beside": "1.3", "known": True}
    (slice_,), headers, others = take_apart(json.dumps([TOLD, beside]).encode())
    assert others == [NoImage(number=7, series="1.3", kind="RT Plan Storage", known=True)]
    assert (slice_.number, slice_.position_mm, slice_.thickness_mm, slice_.fault) == (3, (1, 2, 3.5), 2, None)
    assert headers == {3: TOLD["header"]}


def test_a_time_of_day_keeps_its_digits():
    labels = [["acquisition time", "090001.25"], ["trigger time", "0090.5"]]
    (slice_,), _, _ = take_apart(json.dumps([{**TOLD, "labels": labels}]).encode())
    assert slice_.labels == (("acquisition time", "090001.25"), ("trigger time", 90.5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", "x"),
        ("number", None),
        ("dtype", "object"),
        ("dtype", "complex128"),
        ("position_mm", [1, 2]),
        ("position_mm", [1, 2, float("inf")]),
        ("axes", [1] * 7),
        ("axes", "abcdef"),
        ("spacing_mm", {}),
        ("columns", [4]),
        ("columns", 1e400),
        ("fault", "x"),
        ("fault", 1),
        ("header", None),
        ("header", {"00280010": {"Value": 5}}),
        ("header", {"00280010": {"Value": ["x"]}}),
        ("header", {"00200032": {"Value": [float("nan")]}}),
        ("header", {"00100010": {"Value": ["Doe"]}}),
    ],
)
def test_what_is_of_another_kind_is_refused(name, value):
    with pytest.raises(VolumeRefused) as refusal:
        take_apart(json.dumps([TOLD | {name: value}]).encode())
    assert refusal.value.code == "unreadable"


@pytest.mark.parametrize("data", [b"", b"{}x", b"5", b"[5]", b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_list_of_images_is_refused(data):
    with pytest.raises(VolumeRefused):
        take_apart(data)


def test_only_known_attributes_of_known_kinds_and_lengths_are_handed_on():
    told = copy.deepcopy(TOLD)
    told["header"] = {
        "7FE00010": {"vr": "OW", "Value": ["pixels"]},
        "00100020": {"vr": "UN", "Value": ["x" * 10_000], "BulkDataURI": "file:///etc/passwd"},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe", "Other": "x"}]},
        "00080060": {"vr": "CS", "Value": ["CT"] * 1000},
    }
    _, headers, _ = take_apart(json.dumps([told]).encode())
    assert headers[3] == {
        "00100020": {"vr": "LO", "Value": ["x" * LONGEST_TEXT]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe"}]},
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from([*TOLD, *ATTRIBUTES, "Value"]), inner),
)


@pytest.mark.slow
@given(st.sampled_from(list(TOLD)), values)
def test_whatever_is_told_is_taken_apart_or_refused(name, value):
    with contextlib.suppress(VolumeRefused):
        take_apart(json.dumps([TOLD | {name: value}]).encode())
