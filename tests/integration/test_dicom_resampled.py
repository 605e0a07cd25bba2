"""Series with a tilted gantry and unevenly spaced slices through the real, limited reading process."""

import io
import math

import numpy as np
import pydicom
import pytest

from tests.dicom_seg import marks
from tests.dicom_series import enhanced, item, series, written
from tomaat.headers import VolumeRefused
from tomaat.reader import VolumeReader
from tomaat.services.outputs import choose_segmented, write_outputs
from tomaat.volumes import Labels

SHAPE = (24, 20, 9)
TILT = math.tan(math.radians(13.5))
DEPTHS = (0, 2.5, 5, 7.5, 10, 15, 20, 25, 30)
FACTS = {"service": "S", "version": "1", "compute_source": "here/cpu-0"}


def affine(tilt):
    """Tell where pixels of images 2.5 mm apart lie in LPS, turned as a head is, moved along j with each image."""
    a, b = math.radians(20), math.radians(-15)
    turn = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    made = np.eye(4)
    made[:3, :3] = turn @ np.array([[0.9, 0, 0], [0, 0.8, 2.5 * tilt], [0, 0, 2.5]])
    made[:3, 3] = (-20, 30, -250.5)
    return made


def field(places):
    """Give a value that is straight in space, of a place in mm."""
    return places @ (20.0, -13.0, 31.0) + 9000


def head(tilt=0.0, depths=tuple(2.5 * k for k in range(9))):
    """Make the images of a scan by where their own pixels lie: a name to the bytes."""
    stack = affine(tilt) @ np.diag([1, 1, 0.4, 1])  # in mm along the stack
    index = np.stack(np.meshgrid(range(24), range(20), depths, indexing="ij"), axis=-1)
    values = np.round(field(index @ stack[:3, :3].T + stack[:3, 3])).astype(np.int16)
    files = {}
    for name, data in series(values, affine(tilt)).items():
        image = pydicom.dcmread(io.BytesIO(data))
        image.ImagePositionPatient = [*(stack @ (0, 0, depths[image.InstanceNumber - 1], 1))[:3].round(6)]
        file = io.BytesIO()
        image.save_as(file)
        files[name] = file.getvalue()
    return files


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=2**26)
    yield made
    made.close()


CASES = {
    "tilted": (TILT, tuple(2.5 * k for k in range(9)), (24, 26, 9), "gantry-tilt"),
    "uneven": (0, DEPTHS, (24, 20, 13), "uneven-spacing"),
    "both": (-TILT, DEPTHS, (24, 29, 13), "gantry-tilt"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_voxel_has_the_value_of_its_place(case, tmp_path, reader):
    tilt, depths, dimensions, code = CASES[case]
    told = []
    folder = written(head(tilt, depths), tmp_path)
    volume = reader.read(folder, demand=told.append)
    assert volume.array.shape == told[0].dimensions == dimensions
    assert volume.array.dtype == np.int16
    assert [one.code for one in told[0].remarks] == ["resampled"]
    index = np.stack(np.meshgrid(*map(range, dimensions), indexing="ij"), axis=-1)
    places = np.apply_along_axis(volume.to_physical, -1, index)
    inside = volume.array != volume.array.min()
    assert inside.sum() > 0.9 * 24 * 20 * dimensions[2]
    assert np.abs(volume.array - field(places))[inside].max() <= 2  # of 6,000: a hundredth of a voxel, and rounding
    with pytest.raises(VolumeRefused, match="In 3D Slicer") as refusal:
        reader.read(folder, resampled=False)
    assert refusal.value.code == code


def test_frames_of_an_enhanced_image_are_resampled_likewise(tmp_path, reader):
    values = np.zeros(SHAPE, np.int16)
    values[:] = np.array(DEPTHS) * 10

    def each(group, _volume, k):
        group.PlanePositionSequence = [item(ImagePositionPatient=[0, 0, DEPTHS[k]])]

    volume = reader.read(written({"a": enhanced([values], each=each)}, tmp_path))
    assert np.array_equal(volume.array[3, 4], np.arange(13) * 25)


def test_an_even_grid_beyond_the_limit_is_refused_before_a_pixel_is_read(tmp_path):
    folder = written(head(0, DEPTHS), tmp_path)
    largest = 2 * 24 * 20 * 13
    reader = VolumeReader(largest_voxel_bytes=largest - 1)
    with pytest.raises(VolumeRefused, match=f"{largest} bytes of voxels; at most {largest - 1} are taken"):
        reader.read(folder)
    reader.close()


def test_labels_come_back_in_the_images_that_were_sent(tmp_path, reader):
    """Each pixel of the segmentation shows, at its own place, what was marked there."""
    files = head(-TILT, DEPTHS)
    volume = reader.read(written(files, tmp_path / "in"))
    middle = int(np.median(volume.array))
    mask = (volume.array > middle) & (volume.array < middle + 200)
    segmented = choose_segmented([volume], "dicom-seg")
    labels = Labels(volume=volume.like(mask), names={1: "shell"})
    (entry,) = write_outputs({"shell": labels}, tmp_path, segmented, "dicom-seg", FACTS)
    assert entry["labels"][0]["voxels"] == mask.sum()
    found = marks(pydicom.dcmread(tmp_path / "shell.dcm"))
    sent = {str(one.SOPInstanceUID): one for one in map(pydicom.dcmread, map(io.BytesIO, files.values()))}
    assert len(found) > 200
    assert {uid for *_, uid in found} <= sent.keys()
    slack = 0.5 * (20 * 0.9 + 13 * 0.8 + 31 * 2.5)  # half a voxel
    for _, place, uid in found:
        image = sent[uid]
        axes = np.reshape(np.asarray(image.ImageOrientationPatient, float), (2, 3))
        off = place - np.asarray(image.ImagePositionPatient, float)
        assert abs(np.cross(*axes) @ off) < 1e-3, "it lies in the image's own plane"
        pixel = [axes[0] @ off / 0.9, axes[1] @ off / 0.8]
        assert np.abs(pixel - np.round(pixel)).max() < 1e-2
        assert middle - slack < field(place) < middle + 200 + slack
