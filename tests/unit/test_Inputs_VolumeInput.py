import pytest

from Inputs import InputRefused, VolumeInput
from tests.hostile_images import HOSTILE, nifti

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


@pytest.mark.parametrize(
    ("most", "error"), [(0, ValueError), (10**13, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_limit_that_is_none_is_refused_to_its_author(most, error):
    with pytest.raises(error, match="largest_voxel_bytes="):
        VolumeInput("scan", "Scan", largest_voxel_bytes=most)
