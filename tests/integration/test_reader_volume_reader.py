"""Volumes of strangers through the real, limited reading process."""

import gc
import gzip
import math
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import nibabel
import nrrd as pynrrd
import numpy as np
import pytest
import SimpleITK as sitk

from tests.hostile_images import HOSTILE, VOXELS, mha, nifti, nrrd
from tomaat.headers import VolumeRefused, read_header
from tomaat.reader import VolumeReader
from tomaat.volumes import write_volume

LARGEST = 1024**3
OBLIQUE = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=LARGEST)
    yield made
    made.close()


def image(dtype=np.int16, shape=(4, 5, 6), seed=0):
    """A volume of unlike axes, oblique and far away; the array is in ITK's order (k, j, i)."""
    voxels = (np.random.default_rng(seed).random(shape[::-1]) * 100).astype(dtype)
    made = sitk.GetImageFromArray(voxels)
    made.SetSpacing((0.5, 1.25, 3.0))
    made.SetOrigin((-120.5, 33.25, 1500.0))
    made.SetDirection(OBLIQUE.ravel())
    return made, voxels


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_volume_keeps_voxels_and_geometry(extension, dtype, compressed, tmp_path, reader):
    written, voxels = image(dtype)
    path = tmp_path / f"x{extension}"
    sitk.WriteImage(written, str(path), useCompression=compressed)
    volume = reader.read(path)
    assert volume.array.shape == (4, 5, 6)
    assert np.array_equal(volume.array.transpose(2, 1, 0), voxels)
    assert volume.array.dtype == dtype
    for index in [(0, 0, 0), (3, 1, 2)]:
        place = written.TransformIndexToPhysicalPoint(index)
        assert volume.to_physical(index) == pytest.approx(place, abs=1e-3)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_what_is_written_is_read_back_with_its_geometry(extension, tmp_path, reader):
    written, _ = image(np.float32)
    sitk.WriteImage(written, str(tmp_path / "in.mha"))
    volume = reader.read(tmp_path / "in.mha")
    write_volume(volume.like(volume.array > 50), tmp_path / f"mask{extension}")
    mask = reader.read(tmp_path / f"mask{extension}")
    assert mask.array.dtype == np.uint8
    assert np.array_equal(mask.array, volume.array > 50)
    assert mask.to_physical((3, 4, 5)) == pytest.approx(volume.to_physical((3, 4, 5)), abs=1e-3)


def test_what_nibabel_writes_lies_where_nibabel_says(tmp_path, reader):
    affine = np.eye(4)
    affine[:3, :3] = OBLIQUE * (0.5, 1.25, 3.0)
    affine[:3, 3] = (10, -20, 30)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), affine), tmp_path / "x.nii.gz")
    x, y, z = reader.read(tmp_path / "x.nii.gz").to_physical((1, 2, 3))
    right, anterior, superior = nibabel.affines.apply_affine(affine, (1, 2, 3))
    assert (-x, -y, z) == pytest.approx((right, anterior, superior), abs=1e-3)


def scaled_nifti(dtype, slope, intercept):
    """A NIfTI of one type on disk whose values are others."""
    voxels = (np.random.default_rng(3).random((4, 5, 6)) * 100).astype(dtype)
    data = bytearray(nibabel.Nifti1Image(voxels, np.eye(4), dtype=voxels.dtype).to_bytes())
    struct.pack_into("<2f", data, 112, slope, intercept)
    return bytes(data)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("scale", [(0.5, 10), (-2, 0), (1, 1000), (1, 1e-20), (1e30, 3)])
def test_niftis_slope_is_applied_as_simpleitk_does(scale, dtype, packed, tmp_path, reader):
    data = scaled_nifti(dtype, *scale)
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
    array = reader.read(path).array
    assert array.dtype == wanted.dtype
    np.testing.assert_allclose(array, wanted, rtol=1e-6)


def test_a_large_slice_is_scaled_within_the_bounds_of_its_process(tmp_path, reader):
    side = 5500
    (tmp_path / "x.nii").write_bytes(nifti(dim=(3, side, side, 1, 1, 1, 1, 1), scl_slope=0.5, scl_inter=3, voxels=b""))
    os.truncate(tmp_path / "x.nii", 352 + 2 * side**2)
    array = reader.read(tmp_path / "x.nii").array
    assert (array.shape, array.min(), array.max()) == ((side, side, 1), 3, 3)


def test_what_is_scaled_is_bounded_as_it_is_held(tmp_path):
    """A byte on disk becomes a float of four."""
    (tmp_path / "x.nii").write_bytes(nifti(datatype=2, bitpix=8, scl_slope=0.5, voxels=bytes(120)))
    assert read_header(tmp_path / "x.nii", largest_voxel_bytes=480).value_bytes == 480
    with pytest.raises(VolumeRefused, match="claims 480 bytes of voxels; at most 479 are taken"):
        read_header(tmp_path / "x.nii", largest_voxel_bytes=479)


def test_voxels_that_begin_beyond_the_files_end_are_none(tmp_path):
    (tmp_path / "x.nii").write_bytes(nifti(vox_offset=1e6))
    with pytest.raises(VolumeRefused, match=r"^The header claims 240 bytes of voxels; 0 are there\."):
        read_header(tmp_path / "x.nii")


def test_one_slice_lies_where_nibabel_says(tmp_path, reader):
    affine = np.diag([2.0, 3.0, 1.0, 1.0])
    affine[:3, 3] = (10, -20, 15)
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 4), np.int16), affine), tmp_path / "x.nii")
    assert reader.read(tmp_path / "x.nii").to_physical((1, 2, 0)) == pytest.approx((-12, 14, 15))


def turned(degrees, shift_mm=0.0, shear=0.0):
    """An affine (RAS, mm) of voxels of 1 x 1 x 2 mm, turned about the head's axis; what `nifti` calls srow."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cosine, -sine + shear, 0, shift_mm, sine, cosine, 0, 0, 0, 0, 2, 0)


def with_qform(data, degrees, qform_code=1, sform_code=1):
    """Put a rotation about the head's axis into the header of a NIfTI as its qform."""
    changed = bytearray(data)
    struct.pack_into("<2h", changed, 252, qform_code, sform_code)
    struct.pack_into("<3f", changed, 256, 0, 0, math.sin(math.radians(degrees / 2)))
    return bytes(changed)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (nifti(srow=turned(20, shear=0.05)), "direction", "sform: the axes are not at right angles"),
        (with_qform(nifti(srow=turned(20, shear=0.05)), 20), "direction", "sform: the axes are not at right angles"),
        (with_qform(nifti(srow=turned(20, shear=0.05)), 20), "direction", 'or take the qform, by {"form": "qform"} in'),
        (nifti(srow=(0,) * 12), "direction", "sform: an axis is zero"),
    ],
)
def test_a_nifti_that_itk_would_bend_is_refused(data, code, words, tmp_path):
    (tmp_path / "x.nii").write_bytes(data)
    with pytest.raises(VolumeRefused) as refusal:
        read_header(tmp_path / "x.nii")
    assert refusal.value.code == code
    assert words in refusal.value.detail


@pytest.mark.parametrize(
    "data",
    [
        nifti(srow=turned(20)),
        with_qform(nifti(srow=turned(20)), 20),
        with_qform(nifti(srow=turned(20, shift_mm=0.4)), 20, 1, 2),
        with_qform(nifti(srow=turned(70), pixdim=(-1, 1, 1, 2, 0, 0, 0, 0)), 20, 1, 0),
        with_qform(nifti(srow=turned(179.98)), 179.98, 1, 2),
    ],
)
def test_a_nifti_lies_where_nibabel_says_and_its_header_does(data, tmp_path, reader):
    (tmp_path / "x.nii").write_bytes(data)
    affine = np.diag([-1, -1, 1, 1]) @ nibabel.load(tmp_path / "x.nii").affine
    header = read_header(tmp_path / "x.nii")
    assert np.allclose(np.asarray(header.direction) * header.spacing_mm, affine[:3, :3], atol=1e-5)
    assert np.allclose(header.origin_mm, affine[:3, 3], atol=1e-5)
    assert reader.read(tmp_path / "x.nii").to_physical((3, 4, 5)) == pytest.approx(
        (affine @ [3, 4, 5, 1])[:3], abs=0.02
    )


def test_a_nifti_that_does_not_say_where_it_lies_lies_along_lps_and_a_remark_tells(tmp_path, reader):
    data = bytearray(nifti())
    struct.pack_into("<2h", data, 252, 0, 0)
    (tmp_path / "x.nii").write_bytes(data)
    theirs = sitk.ReadImage(str(tmp_path / "x.nii"))
    told = []
    volume = reader.read(tmp_path / "x.nii", demand=lambda header: told.extend(header.remarks))
    assert (volume.orientation, volume.origin_mm) == ("LPS", (0, 0, 0))
    assert volume.to_physical((3, 4, 5)) == theirs.TransformIndexToPhysicalPoint((3, 4, 5))
    affine = np.diag([-1, -1, 1, 1]) @ nibabel.load(tmp_path / "x.nii").affine
    assert not np.allclose((affine @ [3, 4, 5, 1])[:3], volume.to_physical((3, 4, 5)))  # so it has to be told
    assert [remark.code for remark in told] == ["no-place"]
    assert told[0].detail.startswith("qform_code and sform_code are 0: the header does not say where the volume lies.")


@pytest.mark.parametrize(
    ("name", "data", "codes"),
    [
        ("x.nii", nifti(), []),
        ("x.nrrd", nrrd(), []),
        ("x.nrrd", nrrd(space="-", space_origin="-", space_directions="-", spacings="1 1 2"), ["no-place"]),
        ("x.mha", mha(), []),
        ("x.mha", mha(TransformMatrix="-"), ["no-place"]),
        ("x.mha", mha(TransformMatrix="1 0.002 0 0 1 0 0 0 1"), ["made-square"]),
        ("x.nrrd", nrrd(space_directions="(1,0.002,0) (0,1,0) (0,0,2)"), ["made-square"]),
    ],
)
def test_a_remark_tells_of_a_volume_that_was_read_in_a_way_that_is_not_plain(name, data, codes, tmp_path, reader):
    (tmp_path / name).write_bytes(data)
    assert [remark.code for remark in read_header(tmp_path / name).remarks] == codes
    assert np.array_equal(reader.read(tmp_path / name).array.ravel("F"), np.frombuffer(VOXELS, "<i2"))


def sheared(shear, shape, path):
    """Write by nibabel an oblique volume of 0.8 x 0.9 x 2.5 mm whose axes are off; give its voxels and affine (LPS)."""
    slant = np.eye(4)
    slant[0, 1] = shear * 0.9 / 0.8
    affine = np.eye(4)
    affine[:3, :3] = OBLIQUE * (0.8, 0.9, 2.5)
    affine[:3, 3] = (-31, 17, -250)
    voxels = np.random.default_rng(0).integers(0, 90, shape).astype(np.int16)
    made = nibabel.Nifti1Image(voxels, None)
    made.set_sform(affine @ slant, 1)
    made.header.set_zooms(np.linalg.norm((affine @ slant)[:3, :3], axis=0))
    nibabel.save(made, path)
    return voxels, np.diag([-1, -1, 1, 1]) @ nibabel.load(path).affine


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("shear", [3e-6, 5e-5, 2e-4, 9e-4, 3e-3])
def test_axes_that_rounding_turned_are_made_square_and_no_voxel_moves_far(shear, name, tmp_path, reader):
    shape = (64, 64, 9)
    voxels, affine = sheared(shear, shape, tmp_path / name)
    told = []
    volume = reader.read(tmp_path / name, demand=lambda header: told.extend(header.remarks))
    assert np.array_equal(volume.array, voxels)
    axes = np.asarray(volume.direction)
    assert np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=1e-5)
    corners = [np.multiply(corner, np.subtract(shape, 1)) for corner in np.ndindex(2, 2, 2)]
    farthest = max(math.dist(volume.to_physical(corner), (affine @ [*corner, 1])[:3]) for corner in corners)
    assert farthest == pytest.approx(shear / 2 * 31.5 * math.hypot(0.8, 0.9), rel=0.1, abs=1e-4)
    assert [remark.code for remark in told] == ["made-square"][: shear > 1e-5]
    if told:
        assert f"moved by {farthest / 0.8:.2g} of a voxel ({farthest:.2g} mm)." in told[0].detail


@pytest.mark.parametrize(
    ("shear", "shape", "words"),
    [
        (9e-4, (512, 512, 2), "move voxels by 0.14 mm, which is 0.17 of a voxel, and at most 0.1 is taken; resample"),
        (0.01, (12, 10, 8), "not at right angles and of length 1: they are 0.01 off, at most 0.005 is taken; resample"),
    ],
)
def test_axes_that_are_farther_off_are_refused_by_the_header_with_number_and_limit(shear, shape, words, tmp_path):
    sheared(shear, shape, tmp_path / "x.nii")
    with pytest.raises(VolumeRefused) as refusal:
        read_header(tmp_path / "x.nii")
    assert refusal.value.code == "direction"
    assert words in refusal.value.detail


@pytest.mark.parametrize("data", [nrrd(space="scanner-xyz"), nrrd(space="left-posterior-inferior")])
def test_a_space_that_is_no_patients_is_refused(data, tmp_path):
    (tmp_path / "x.nrrd").write_bytes(data)
    with pytest.raises(
        VolumeRefused, match="left-posterior-superior, right-anterior-superior, left-anterior-superior are"
    ):
        read_header(tmp_path / "x.nrrd")


@pytest.mark.parametrize("space", ["LPS", "right-anterior-superior", "RAS", "left-anterior-superior", "LAS"])
def test_a_nrrd_is_turned_from_its_space(space, tmp_path, reader):
    axes = "(0.5,0,0) (0,0,-1) (0,2,0)"
    (tmp_path / "x.nrrd").write_bytes(nrrd(space=space, space_directions=axes, space_origin="(10,20,30)"))
    header, volume = read_header(tmp_path / "x.nrrd"), reader.read(tmp_path / "x.nrrd")
    sense = {"L": 1, "P": 1, "R": -1, "A": -1}
    letters = {"right-anterior-superior": "RA", "left-anterior-superior": "LA"}.get(space, space)
    wanted = (10 * sense[letters[0]], 20 * sense[letters[1]], 30)
    assert header.origin_mm == volume.origin_mm == wanted
    assert np.allclose(header.direction, volume.direction)


def test_a_volume_that_is_read_at_another_place_than_its_header_says_is_refused(tmp_path, reader):
    """ITK takes the origin of such a file from words that no header check knows."""
    text = nrrd(space="-", space_origin="-", space_directions="-", spacings="1 1 2", axis_mins="5 5 5")
    (tmp_path / "x.nrrd").write_bytes(text)
    with pytest.raises(VolumeRefused, match=r"read at a place 9\.\d+ mm from that of its header"):
        reader.read(tmp_path / "x.nrrd")


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # pynrrd's own, from Python 3.12
def test_what_pynrrd_writes_is_taken(tmp_path, reader):
    voxels = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    pynrrd.write(str(tmp_path / "x.nrrd"), voxels, {"encoding": "gzip", "spacings": [1, 2, 3]})
    volume = reader.read(tmp_path / "x.nrrd")
    assert np.array_equal(volume.array, voxels)
    assert volume.spacing_mm == (1, 2, 3)


def big_endian_nifti():
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    made = nibabel.Nifti1Image(np.frombuffer(VOXELS, "<i2").reshape(6, 5, 4).T.astype(">i2"), np.eye(4), header)
    return made.to_bytes()


def packed_mha(voxels, **changes):
    """SimpleITK needs the size, and without it gives voxels that were never set."""
    packed = zlib.compress(voxels)
    return mha(packed, CompressedData="True", CompressedDataSize=str(len(packed)), **changes)


SWAPPED = np.frombuffer(VOXELS, "<i2").byteswap().tobytes()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.nii", nifti()),
        ("x.nii", big_endian_nifti()),
        ("x.nrrd", nrrd()),
        ("x.nrrd", nrrd(SWAPPED, endian="big")),
        ("x.mha", mha()),
        ("x.mha", mha(SWAPPED, BinaryDataByteOrderMSB="True")),
        ("x.mha", mha(SWAPPED, BinaryDataByteOrderMSB="-", ElementByteOrderMSB="True")),
        ("x.nii.gz", gzip.compress(nifti())),
        ("x.nii.gz", gzip.compress(big_endian_nifti())),
        ("x.nrrd", nrrd(gzip.compress(VOXELS), encoding="gzip")),
        ("x.nrrd", nrrd(gzip.compress(SWAPPED), encoding="gzip", endian="big")),
        ("x.mha", packed_mha(VOXELS)),
        ("x.mha", packed_mha(SWAPPED, BinaryDataByteOrderMSB="True")),
    ],
)
def test_voxels_are_those_that_simpleitk_reads_in_either_byte_order(name, data, tmp_path, reader):
    (tmp_path / name).write_bytes(data)
    volume = reader.read(tmp_path / name)
    assert np.array_equal(volume.array.transpose(2, 1, 0), sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / name)))
    assert np.array_equal(volume.array.transpose(2, 1, 0), np.frombuffer(VOXELS, "<i2").reshape(6, 5, 4))


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "x.nrrd", "x.mha"])
@pytest.mark.parametrize("shape", [(1, 6, 5, 4), (5, 4)])
def test_an_image_of_another_number_of_dimensions_is_what_simpleitk_makes_of_it(shape, name, tmp_path, reader):
    voxels = np.arange(math.prod(shape), dtype=np.int16).reshape(shape)
    made = sitk.GetImageFromArray(voxels, isVector=False)
    count = len(shape)
    made.SetSpacing((0.5, 1.25, 3.0, 2.0)[:count])
    made.SetOrigin((-12.5, 3.25, 15.0, 0.0)[:count])
    axes = np.eye(count)
    axes[:2, :2] = ((0.6, -0.8), (0.8, 0.6))
    made.SetDirection(axes.ravel())
    sitk.WriteImage(made, str(tmp_path / name), useCompression=True)
    volume = reader.read(tmp_path / name)
    assert np.array_equal(volume.array.T, voxels.reshape(volume.array.T.shape))
    assert volume.spacing_mm == pytest.approx((0.5, 1.25, 3.0 if count > 2 else 1.0))
    wanted = made.TransformIndexToPhysicalPoint((3, 2, 1, 0)[:count])[:3]
    index = (3, 2, 1) if count > 2 else (3, 2, 0)
    assert volume.to_physical(index)[: len(wanted)] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("shape", [(7, 8, 1), (1, 1, 9)])
def test_one_slice_is_a_volume(shape, tmp_path, reader):
    sitk.WriteImage(image(shape=shape)[0], str(tmp_path / "x.nii.gz"))
    assert reader.read(tmp_path / "x.nii.gz").array.shape == shape


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused(name, tmp_path, reader):
    file_name, data, code = HOSTILE[name]
    path = tmp_path / file_name
    path.write_bytes(data)
    began = time.process_time()
    tracemalloc.start()
    with pytest.raises(VolumeRefused) as refusal:
        reader.read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refusal.value.code == code
    assert time.process_time() - began < 20, "ten times its bound"
    assert most < 64 * 1024**2
    assert str(tmp_path) not in refusal.value.detail
    assert len(refusal.value.detail) < 300


def test_there_are_enough_hostile_images():
    assert len(HOSTILE) >= 60


def test_no_voxel_of_an_earlier_patient_comes_back(tmp_path, reader):
    victim = mha(b"\xab\xcd" * 120)
    (tmp_path / "victim.mha").write_bytes(victim)
    for _ in range(20):
        reader.read(tmp_path / "victim.mha")
        poisoned = tmp_path / "poisoned.mha"
        poisoned.write_bytes(HOSTILE["mha-zlib-broken"][1])
        with pytest.raises(VolumeRefused):
            reader.read(poisoned)


def test_more_than_the_bytes_can_inflate_to_is_refused_at_the_door(tmp_path):
    """Memory for the voxels is taken before they come out."""
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(nifti(dim=(3, 100, 100, 100, 1, 1, 1, 1), voxels=b"")))
    with pytest.raises(VolumeRefused, match=r"claims 2000000 bytes of voxels; \d+ bytes cannot inflate to as many"):
        read_header(tmp_path / "x.nii.gz")
    emptiest = nifti(dim=(3, 100, 100, 100, 1, 1, 1, 1), voxels=bytes(2_000_000))
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(emptiest, 9))
    assert read_header(tmp_path / "x.nii.gz").dimensions == (100, 100, 100)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "real.nii").write_bytes(nifti())
    (tmp_path / "x.nii").symlink_to(tmp_path / "real.nii")
    with pytest.raises(VolumeRefused, match="symbolic link"):
        read_header(tmp_path / "x.nii")


def test_a_read_that_is_killed_is_refused_and_the_next_goes_on(tmp_path):
    """A header of a gigabyte lets the fork run long enough to be met."""
    reader = VolumeReader(largest_voxel_bytes=LARGEST)
    (tmp_path / "good.nii").write_bytes(nifti())
    reader.read(tmp_path / "good.nii")
    big = nifti(dim=(3, 1000, 500, 500, 1, 1, 1, 1), voxels=b"") + bytes(500_000_000)
    (tmp_path / "big.nii.gz").write_bytes(gzip.compress(big, 1))
    server = reader.server.pid
    killer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, pathlib, sys, time\n"
            "for _ in range(2000):\n"
            f"    found = pathlib.Path('/proc/{server}/task/{server}/children').read_text().split()\n"
            "    if found: os.kill(int(found[0]), 9); break\n"
            "    time.sleep(0.005)",
        ]
    )
    with pytest.raises(VolumeRefused, match="ended by signal 9"):
        reader.read(tmp_path / "big.nii.gz")
    killer.wait()
    assert reader.read(tmp_path / "good.nii").array.shape == (4, 5, 6)
    assert reader.server.pid == server
    reader.server.kill()
    reader.server.wait()
    assert reader.read(tmp_path / "good.nii").array.shape == (4, 5, 6)
    reader.close()


def test_reading_leaves_no_descriptor_and_no_process_behind(tmp_path, reader):
    (tmp_path / "x.nii").write_bytes(nifti())
    reader.read(tmp_path / "x.nii")
    gc.collect()  # what earlier tests have left open is closed by now, and not meanwhile
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(30):
        reader.read(tmp_path / "x.nii")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    children = Path(f"/proc/{reader.server.pid}/task/{reader.server.pid}/children")
    deadline = time.monotonic() + 5
    while children.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children.read_text() == ""


def test_header_checks_need_the_standard_library_only():
    program = "import sys, Inputs, tomaat.headers.read_header; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "SimpleITK", "pydicom", "torch", "isal"} & set(loaded)


@pytest.mark.parametrize(("count", "limit_bytes"), [(64, 100_000), (2, 300)], ids=["voxels", "header"])
def test_a_volume_written_short_is_an_error_and_no_result(tmp_path, count, limit_bytes):
    """ITK's NIfTI writer says nothing when the file ends early; a limit of the file's size stands for a full disk."""
    program = """
import resource, sys
from pathlib import Path
import numpy as np
from tomaat.volumes import Volume, write_volume
count, limit_bytes, *names = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))
axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
voxels = np.random.default_rng(1).integers(0, 1000, (int(count),) * 3, np.int16)
volume = Volume(array=voxels, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes)
for name in names:
    try:
        write_volume(volume, Path(name))
    except OSError as error:
        print(type(error).__name__)
"""
    names = [str(tmp_path / f"x{extension}") for extension in (".nii", ".nii.gz")]
    words = [str(count), str(limit_bytes), *names]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["OSError", "OSError"]
