import json
from dataclasses import replace

import pytest

from Inputs import InputRefused, VolumeInput, from_description
from tests.hostile_images import HOSTILE, nifti
from tomaat.headers import VolumeHeader, VolumeRefused

SCAN = VolumeInput("scan", "CT scan")


def test_a_volumes_header_is_checked(tmp_path):
    path = tmp_path / "file-scan.nii"
    path.write_bytes(nifti())
    header = SCAN.check_file(path)
    assert (header.dimensions, header.dtype) == ((4, 5, 6), "int16")


@pytest.mark.parametrize("name", [name for name, (_, _, code) in HOSTILE.items() if code in {"header", "spacing"}])
def test_a_header_that_breaks_a_rule_is_refused_by_the_inputs_name(name, tmp_path):
    file_name, data, code = HOSTILE[name]
    path = tmp_path / file_name
    path.write_bytes(data)
    with pytest.raises(InputRefused, match=r"^scan: ") as refusal:
        SCAN.check_file(path)
    assert refusal.value.code == code


def test_more_voxels_than_the_task_declares_are_refused(tmp_path):
    path = tmp_path / "file-scan.nii"
    path.write_bytes(nifti())
    with pytest.raises(InputRefused, match=r"scan: .*239"):
        VolumeInput("scan", "Scan", largest_voxel_bytes=239).check_file(path)
    assert VolumeInput("scan", "Scan", largest_voxel_bytes=240).check_file(path).voxel_bytes == 240


def test_a_value_in_main_json_is_no_volume():
    with pytest.raises(InputRefused, match=r"scan: 'brain.nii' in main.json is no volume; send it as the file file-sc"):
        SCAN.check("brain.nii")


LIMITS = {
    "modalities": ["CT", "PT"],
    "orientation": "RAS",
    "smallest_dimensions": [4, 4, 4],
    "largest_dimensions": [512, 512, 1000],
    "spacing_mm": [0.2, 3],
    "most_voxels": 10**8,
    "largest_voxel_bytes": 10**9,
}
LPS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
TURNED = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0))  # i to posterior, j to inferior, k to the left
HEADER = VolumeHeader(
    format="dicom",
    dimensions=(4, 5, 6),
    dtype="int16",
    spacing_mm=(1.0, 1.0, 2.0),
    origin_mm=(0.0, 0.0, 0.0),
    direction=LPS,
    compression="images",
    voxel_offset=0,
    whole_file_compressed=False,
    modality="CT",
)


def test_every_limit_is_described_and_read_back():
    declared = VolumeInput("scan", "Scan", **LIMITS)
    described = json.loads(json.dumps(declared.describe()))
    assert LIMITS.items() <= described.items()
    assert described["channels"] == 1
    assert from_description(described) == declared
    assert from_description(described) != VolumeInput("scan", "Scan")
    alone = VolumeInput("scan", "Scan", resampled=False)
    assert from_description(json.loads(json.dumps(alone.describe()))) == alone != VolumeInput("scan", "Scan")
    assert {VolumeInput("scan", "Scan").describe()[name] for name in LIMITS} == {None}
    assert "resampled" not in VolumeInput("scan", "Scan").describe(), "tickets that wait fit the service of an upgrade"


def test_a_volume_within_all_limits_is_taken():
    VolumeInput("scan", "Scan", **LIMITS).demand(HEADER)


@pytest.mark.parametrize(
    ("limits", "changes", "code", "sentence"),
    [
        ({"modalities": ["MR", "PT"]}, {}, "modality", "modality: 'CT' is none of MR, PT."),
        (
            {"smallest_dimensions": (1, 6, 1)},
            {},
            "too-few-voxels",
            "The volume has 4 x 5 x 6 voxels along i, j, k; at least 1 x 6 x 1 are taken.",
        ),
        (
            {"largest_dimensions": (4, 5, 5)},
            {},
            "too-many-voxels",
            "The volume has 4 x 5 x 6 voxels along i, j, k; at most 4 x 5 x 5 are taken.",
        ),
        (
            {"largest_dimensions": (4, 5, 6), "orientation": "RAS"},
            {"direction": TURNED},
            "too-many-voxels",
            "The volume has 6 x 4 x 5 voxels along i, j, k; at most 4 x 5 x 6 are taken.",
        ),
        ({"spacing_mm": (0.5, 1.5)}, {}, "spacing", "spacing: 2 mm along k is outside 0.5 to 1.5 mm."),
        ({"spacing_mm": (1.5, 3)}, {}, "spacing", "spacing: 1 mm along i is outside 1.5 to 3 mm."),
        (
            {"spacing_mm": (0.5, 1.5), "orientation": "RAS"},
            {"direction": TURNED},
            "spacing",
            "spacing: 2 mm along i is outside 0.5 to 1.5 mm.",
        ),
        ({"most_voxels": 119}, {}, "too-large", "The volume has 120 voxels; at most 119 are taken."),
        ({"largest_voxel_bytes": 239}, {}, "too-large", "The volume has 240 bytes of voxels; at most 239 are taken."),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_the_numbers(limits, changes, code, sentence):
    with pytest.raises(VolumeRefused) as refusal:
        VolumeInput("scan", "Scan", **limits).demand(replace(HEADER, **changes))
    assert (refusal.value.code, refusal.value.detail) == (code, sentence)


def test_limits_are_held_against_the_header_at_the_upload(tmp_path):
    path = tmp_path / "file-scan.nii"
    path.write_bytes(nifti())
    with pytest.raises(InputRefused, match=r"^scan: spacing: 2 mm along k is outside 0\.5 to 1\.5 mm\.$"):
        VolumeInput("scan", "Scan", spacing_mm=(0.5, 1.5)).check_file(path)


def test_formats_that_do_not_say_their_modality_are_taken():
    VolumeInput("scan", "Scan", modalities=["MR"]).demand(replace(HEADER, modality=None))


def test_a_spacing_of_single_precision_is_not_outside_of_itself():
    VolumeInput("scan", "Scan", spacing_mm=(0.7, 0.7)).demand(replace(HEADER, spacing_mm=(0.699999988,) * 3))


@pytest.mark.parametrize(
    ("limits", "error", "words"),
    [
        ({"modalities": "CT"}, TypeError, "modalities='CT'; write a list of DICOM's words"),
        ({"modalities": []}, TypeError, "modalities"),
        ({"modalities": ["ct"]}, TypeError, "modalities"),
        ({"orientation": "RAL"}, ValueError, "orientation='RAL'; write one letter of LR"),
        ({"orientation": ["R", "A", "S"]}, ValueError, "orientation"),
        ({"smallest_dimensions": (4, 4)}, TypeError, "smallest_dimensions"),
        ({"smallest_dimensions": (4, 4, 0)}, TypeError, "smallest_dimensions"),
        ({"largest_dimensions": 512}, TypeError, "three whole numbers of voxels"),
        ({"smallest_dimensions": (4, 4, 4), "largest_dimensions": (9, 9, 3)}, ValueError, "above largest_dimensions"),
        ({"spacing_mm": 1.0}, TypeError, "spacing_mm=1.0; write two lengths in mm"),
        ({"spacing_mm": (0, 1)}, TypeError, "spacing_mm"),
        ({"spacing_mm": (3, 1)}, ValueError, "write the smaller one first"),
        ({"resampled": "no"}, TypeError, "resampled='no'; write True or False"),
        ({"most_voxels": 0}, ValueError, "most_voxels=0 is outside"),
        ({"most_voxels": 1e6}, TypeError, "most_voxels"),
    ],
)
def test_limits_that_are_none_are_refused_to_their_author(limits, error, words):
    with pytest.raises(error, match=words):
        VolumeInput("scan", "Scan", **limits)


@pytest.mark.parametrize(
    ("most", "error"), [(0, ValueError), (10**13, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_limit_that_is_none_is_refused_to_its_author(most, error):
    with pytest.raises(error, match="largest_voxel_bytes="):
        VolumeInput("scan", "Scan", largest_voxel_bytes=most)
