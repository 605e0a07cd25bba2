"""The size of a file against what its header claims."""

import os

import pytest

from tests.hostile_images import VOXELS, mha, nifti, nrrd
from tomaat.headers import VolumeRefused, read_header

SHORT = {
    "NIfTI of three volumes": ("x.nii", nifti(voxels=VOXELS * 3), 3),
    "NIfTI of two volumes, with an extension": ("x.nii", nifti(vox_offset=384.0, voxels=bytes(32) + VOXELS * 2), 2),
    "MHA of two volumes": ("x.mha", mha(VOXELS * 2), 2),
    "MHA of two volumes at the end": ("x.mha", mha(VOXELS * 2, HeaderSize="-1"), 2),
    "NRRD of five volumes": ("x.nrrd", nrrd(VOXELS * 5), 5),
    "NRRD of two volumes at the end": ("x.nrrd", nrrd(VOXELS * 2, extra="byte skip: -1\n"), 2),
}


@pytest.mark.parametrize("kind", SHORT)
def test_whole_volumes_behind_the_voxels_refuse_a_file(kind, tmp_path):
    name, data, times = SHORT[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VolumeRefused) as refusal:
        read_header(tmp_path / name)
    assert refusal.value.code == "size"
    assert f"240 bytes of voxels, 4 x 5 x 6 of int16; there are {times} times as many." in refusal.value.detail


@pytest.mark.parametrize("count", [1, 16, 239, 241, 24 * 25])
@pytest.mark.parametrize(("name", "make"), [("x.nii", lambda v: nifti(voxels=v)), ("x.mha", mha), ("x.nrrd", nrrd)])
def test_other_bytes_behind_the_voxels_are_counted(name, make, count, tmp_path):
    (tmp_path / name).write_bytes(make(VOXELS + bytes(count)))
    (remark,) = read_header(tmp_path / name).remarks
    assert remark.detail.startswith(f"{count} bytes behind the voxels were passed over")
    assert ("those of 15 slices" in remark.detail) == (count == 600)


def test_bytes_behind_the_voxels_are_bounded(tmp_path):
    (tmp_path / "x.nii").write_bytes(nifti())
    os.truncate(tmp_path / "x.nii", len(nifti()) + 64 * 1024**2)
    assert read_header(tmp_path / "x.nii").remarks
    os.truncate(tmp_path / "x.nii", len(nifti()) + 64 * 1024**2 + 1)
    with pytest.raises(VolumeRefused, match=r"67108865 more are there, and at most 67108864 are passed over\. It may"):
        read_header(tmp_path / "x.nii")
