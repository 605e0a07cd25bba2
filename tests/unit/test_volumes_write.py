"""Files that are written straight from memory: as SimpleITK writes them, and as others read them."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from tomaat.volumes import Volume, write, write_volume
from tomaat.volumes.images import as_image

DTYPES = [
    np.uint8,
    np.int8,
    np.uint16,
    np.int16,
    np.uint32,
    np.int32,
    np.int64,
    np.float32,
    np.float64,
    np.float16,
    bool,
]


@st.composite
def volumes(draw):
    """A volume in any place, whose axes lie in any order in memory and run in any direction."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    array = generator.integers(0, 100, shape).astype(draw(st.sampled_from(DTYPES)))
    array = array.transpose(draw(st.permutations(range(3))))
    array = array[tuple(slice(None, None, draw(st.sampled_from([1, -1]))) for _ in range(3))]
    if draw(st.booleans()):
        axes = np.linalg.qr(generator.normal(size=(3, 3)))[0]
    else:
        axes = np.eye(3)[generator.permutation(3)] * generator.choice([-1, 1], 3)
    return Volume(
        array=array,
        spacing_mm=tuple(generator.uniform(0.1, 5, 3).tolist()),
        origin_mm=tuple(generator.normal(0, 100, 3).tolist()),
        direction=tuple(map(tuple, axes.tolist())),
    )


@settings(deadline=None)
@given(volume=volumes())
def test_a_nifti_file_is_byte_for_byte_what_simpleitk_writes(volume, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nifti")
    sitk.WriteImage(as_image(volume), folder / "itk.nii")
    expected = (folder / "itk.nii").read_bytes()
    write_volume(volume, folder / "ours.nii")
    write_volume(volume, folder / "ours.nii.gz")
    assert (folder / "ours.nii").read_bytes() == expected
    assert gzip.decompress((folder / "ours.nii.gz").read_bytes()) == expected
    assert {path.name for path in folder.iterdir()} == {"itk.nii", "ours.nii", "ours.nii.gz"}


@settings(deadline=None)
@given(volume=volumes())
def test_an_nrrd_file_is_what_simpleitk_writes_but_for_the_compression(volume, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nrrd")
    image = as_image(volume)
    image.SetMetaData("Segment0_Name", "sizes: 1 1 1")
    sitk.WriteImage(image, folder / "itk.nrrd", useCompression=True)
    write_volume(volume, folder / "ours.nrrd", {"Segment0_Name": "sizes: 1 1 1"})
    head, _, voxels = (folder / "itk.nrrd").read_bytes().partition(b"\n\n")
    our_head, _, our_voxels = (folder / "ours.nrrd").read_bytes().partition(b"\n\n")
    assert our_head == head
    assert gzip.decompress(our_voxels) == gzip.decompress(voxels)


@pytest.mark.parametrize("extension", write.WRITTEN_EXTENSIONS)
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("slab_bytes", [1, 500, 16 * 1024**2])
def test_what_is_written_in_slabs_is_read_whole(tmp_path, extension, order, slab_bytes, monkeypatch):
    monkeypatch.setattr(write, "SLAB_BYTES", slab_bytes)
    monkeypatch.setattr(write, "CACHE_LINE_BYTES", 1)
    array = np.random.default_rng(1).integers(-1000, 1000, (7, 6, 5), np.int16).astype(np.int16, order=order)
    axes = ((0.0, 1.0, 0.0), (-1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    volume = Volume(array=array, spacing_mm=(1, 2, 3), origin_mm=(4, 5, 6), direction=axes)
    write_volume(volume, tmp_path / f"x{extension}")
    image = sitk.ReadImage(tmp_path / f"x{extension}")
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), array)
    assert np.allclose(image.TransformIndexToPhysicalPoint((3, 4, 2)), volume.to_physical((3, 4, 2)))
    if ".nii" in extension:
        read = nibabel.load(tmp_path / f"x{extension}")
        assert np.array_equal(np.asarray(read.dataobj), array)
        assert np.allclose(read.affine @ (3, 4, 2, 1), (*np.multiply(volume.to_physical((3, 4, 2)), (-1, -1, 1)), 1))


def test_voxels_that_lie_as_in_a_file_are_not_copied():
    array = np.zeros((4, 5, 6), np.int16, order="F")
    assert all(np.shares_memory(np.frombuffer(slab, np.uint8), array) for slab in write._slabs(array))


def test_more_voxels_along_an_axis_than_nifti_can_tell_are_refused(tmp_path):
    array = np.broadcast_to(np.uint8(0), (32_768, 1, 1))
    axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    volume = Volume(array=array, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes)
    with pytest.raises(ValueError, match="at most 32767 voxels along an axis, not 32768"):
        write_volume(volume, tmp_path / "x.nii.gz")
