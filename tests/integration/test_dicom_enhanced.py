"""Enhanced multi-frame images, and series of several volumes, through the real, limited reading process."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.dicom_series import enhanced, frame, item, series, voxels_of, written
from tomaat.headers import VolumeRefused
from tomaat.reader import VolumeReader, dicom_read, frames

SHAPE = (12, 9, 6)
VOXELS = voxels_of(SHAPE)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0] * (0.5, 0.75, 2.5)
OBLIQUE[:3, 2] *= np.sign(np.linalg.det(OBLIQUE[:3, :3]))
OBLIQUE[:3, 3] = (-120.5, 33.25, 800)


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=2**26)
    yield made
    made.close()


def rescaled(slope, intercept):
    return [item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")]


def read_by_pydicom(data):
    """Decode, rescale and place each frame by itself: a place (rounded) to its pixels, in floats."""
    made = pydicom.dcmread(io.BytesIO(data))
    shared = made.SharedFunctionalGroupsSequence[0]
    found = {}
    for pixels, group in zip(made.pixel_array, made.PerFrameFunctionalGroupsSequence, strict=True):
        rescale = group.get("PixelValueTransformationSequence", shared.get("PixelValueTransformationSequence"))
        slope, intercept = (rescale[0].RescaleSlope, rescale[0].RescaleIntercept) if rescale else (1, 0)
        place = tuple(round(float(x), 3) for x in group.PlanePositionSequence[0].ImagePositionPatient)
        found[place] = pixels.astype(float) * float(slope) + float(intercept)
    return found


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless]
)
def test_each_frame_is_read_at_its_place_with_its_own_rescaling(syntax, tmp_path, reader):
    def each(group, _, k):
        group.PixelValueTransformationSequence = rescaled(f"{0.25 * (k + 1)}", str(-10 * k))

    data = enhanced([VOXELS], OBLIQUE, syntax, each=each)
    volume = reader.read(written({"a": data}, tmp_path))
    frames = read_by_pydicom(data)
    assert len(frames) == volume.array.shape[2] == SHAPE[2]
    for k in range(SHAPE[2]):
        place = tuple(round(x, 3) for x in volume.to_physical((0, 0, k)))
        assert np.allclose(volume.array[:, :, k].T, frames[place], rtol=1e-6)
    assert volume.to_physical((11, 8, 5)) == pytest.approx((OBLIQUE @ (11, 8, 5, 1))[:3], abs=1e-3)


def test_frames_of_one_rescaling_keep_the_type_that_it_makes(tmp_path, reader):
    def each(group, _, k):
        group.PixelValueTransformationSequence = rescaled("1", "-1024")

    data = enhanced([VOXELS.astype(np.uint16)], each=each, BitsStored=12, HighBit=11)
    volume = reader.read(written({"a": data}, tmp_path))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, VOXELS - 1024)
    assert [header["00081160"]["Value"] for header in volume.dicom.headers] == [[1], [4], [6], [3], [5], [2]]


def echo(group, volume, _):
    group.MREchoSequence = [item(EffectiveEchoTime=(4.6, 2.3, 9.2)[volume])]


def b_value(group, volume, _):
    direction = item(DiffusionGradientOrientation=[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]][volume % 2])
    diffusion = item(DiffusionBValue=(0.0, 1000.0, 1000.0)[volume])
    if volume:
        diffusion.DiffusionGradientDirectionSequence = [direction]
    group.MRDiffusionSequence = [diffusion]


def phase(group, volume, _):
    group.FrameContentSequence[0].TemporalPositionIndex = 3 - volume


def by_dimension(group, volume, _):
    group.FrameContentSequence[0].DimensionIndexValues = [volume + 1]


def by_direction_of_flow(group, volume, k):
    """Say as Philips does: nothing but an index tells velocities along x, y and z apart."""
    group.FrameContentSequence[0].DimensionIndexValues = [1, k + 1, volume + 1]


#: Stack, place in it, direction of flow.
COUNTED = [item(DimensionIndexPointer=pointer) for pointer in (0x00209056, 0x00209057, 0x00189090)]
SEVERAL = [VOXELS, VOXELS + 100, VOXELS + 200]


@pytest.mark.parametrize(
    "case",
    [
        (echo, "1: echo time 2.3 ms (6 images); 2: echo time 4.6 ms (6 images); 3: echo time 9.2 ms (6", 1, 1),
        (
            b_value,
            "1: b-value 0 s/mm2, no gradient (6 images); 2: b-value 1000 s/mm2, gradient 0.0 / 1.0 / 0.0",
            1,
            0,
        ),
        (phase, "1: temporal position 1 (6 images); 2: temporal position 2 (6 images); 3: temporal", 3, 0),
        (by_dimension, "3: dimensions 3 (6 images). Choose one by its number", 2, 1),
        (by_direction_of_flow, "2: dimensions 1 / 2 (6 images); 3: dimensions 1 / 3 (6", 2, 1),
    ],
)
def test_several_volumes_in_one_are_told_apart_and_one_is_chosen(case, tmp_path, reader):
    each, words, number, read = case
    own = {"DimensionIndexSequence": COUNTED} if each is by_direction_of_flow else {}
    folder = written({"a": enhanced(SEVERAL, OBLIQUE, each=each, **own)}, tmp_path)
    with pytest.raises(VolumeRefused) as refusal:
        reader.read(folder)
    assert refusal.value.code == "several-volumes"
    assert "The series has 3 volumes: " in refusal.value.detail
    assert words in refusal.value.detail
    told = []
    assert np.array_equal(reader.read(folder, volume=number, demand=told.append).array, SEVERAL[read])
    assert told[0].remarks[0].code == "volume"
    with pytest.raises(VolumeRefused, match="The series has no volume 4; it has 3 volumes: 1: "):
        reader.read(folder, volume=4)


@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.13.1.1", "1.2.840.10008.5.1.4.1.1.13.1.2"])
def test_what_a_cone_beam_makes_is_read_as_an_enhanced_image(kind, tmp_path, reader):
    volume = reader.read(written({"a": enhanced([VOXELS], OBLIQUE, SOPClassUID=kind)}, tmp_path))
    assert np.array_equal(volume.array, VOXELS)
    assert volume.to_physical((11, 8, 5)) == pytest.approx((OBLIQUE @ (11, 8, 5, 1))[:3], abs=1e-3)


def sixteen_bits_of_jpeg_2000(voxels):
    """Pack 16 bits of pixels of which the header says 12, as archives do."""

    def each(group, *_):
        group.PixelValueTransformationSequence = rescaled("1", "-1024")

    return enhanced([voxels], None, JPEG2000Lossless, each=each, BitsStored=12, HighBit=11)


def test_jpeg_2000_of_more_bits_than_the_header_says_is_read(tmp_path, reader):
    voxels = voxels_of((24, 17, 5))
    volume = reader.read(written({"a": sixteen_bits_of_jpeg_2000(voxels.astype(np.uint16))}, tmp_path))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, voxels - 1024)


def test_values_beyond_the_type_that_the_header_makes_are_refused(tmp_path, reader):
    voxels = voxels_of((24, 17, 5)).astype(np.uint16) + 40_000
    with pytest.raises(VolumeRefused, match=r"read as int32; the header says int16\. Decompress the images"):
        reader.read(written({"a": sixteen_bits_of_jpeg_2000(voxels)}, tmp_path))


def test_a_sign_that_the_header_does_not_say_is_not_taken():
    pixels = np.asarray([0, 5], np.uint16)
    assert dicom_read._fit(pixels, np.dtype(np.uint8))
    assert not dicom_read._fit(pixels, np.dtype(np.int16))
    assert not dicom_read._fit(pixels.astype(np.float64), np.dtype(np.float32))


def test_a_classic_series_of_several_volumes_is_chosen_from_likewise(tmp_path, reader):
    files = series(VOXELS, DiffusionBValue=0.0, AcquisitionTime="101112")
    for name, data in series(VOXELS + 100, DiffusionBValue=800.0, AcquisitionTime="101115").items():
        files[f"b{name}"] = data
    folder = written(files, tmp_path)
    with pytest.raises(VolumeRefused, match=r"2 volumes: 1: b-value 0 s/mm2 \(6 images\); 2: b-value 800 s/mm2 \(6 "):
        reader.read(folder)
    assert np.array_equal(reader.read(folder, volume=2).array, VOXELS + 100)


def test_one_volume_may_be_parted_into_several_enhanced_images(tmp_path, reader):
    moved = np.eye(4)
    moved[2, 3] = SHAPE[2]
    files = {"a": enhanced([VOXELS]), "b": enhanced([VOXELS + 50], moved, SOPInstanceUID="1.2.3")}
    volume = reader.read(written(files, tmp_path))
    assert np.array_equal(volume.array, np.concatenate([VOXELS, VOXELS + 50], axis=2))


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"NumberOfFrames": 7}, "size", "it needs 1512 bytes of pixels; 1296 are there"),
        ({"NumberOfFrames": 5}, "multi-frame", "it has 5 frames, and 6 of them say where they lie"),
        ({"NumberOfFrames": 20_000}, "size", "bytes of pixels"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "multi-frame", "it has 6 frames that do not say where they"),
        ({"SharedFunctionalGroupsSequence": [pydicom.Dataset()]}, "no-geometry", "Frame 1 of"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "voxel-type", "pixels of 1 bits"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour", "3 samples per pixel"),
    ],
)
def test_an_enhanced_image_that_is_no_volume_is_refused(changes, code, words, tmp_path, reader):
    with pytest.raises(VolumeRefused) as refusal:
        reader.read(written({"Doe^Jane": enhanced([VOXELS], **changes)}, tmp_path))
    assert (refusal.value.code, words in refusal.value.detail) == (code, True), refusal.value.detail
    assert "Doe" not in refusal.value.detail


def test_a_deflated_enhanced_image_is_refused(tmp_path, reader):
    with pytest.raises(VolumeRefused, match=r"the transfer syntax .*Deflated.* is not taken; decompress the images"):
        reader.read(written({"a": enhanced([VOXELS], syntax=DeflatedExplicitVRLittleEndian)}, tmp_path))


def test_a_frame_with_an_unusable_slope_is_refused(tmp_path, reader):
    def each(group, _, k):
        group.PixelValueTransformationSequence = rescaled("0" if k == 3 else "1", "0")

    with pytest.raises(VolumeRefused, match="RescaleSlope is '0', which is no number that values can be rescaled with"):
        reader.read(written({"a": enhanced([VOXELS], each=each)}, tmp_path))


def test_of_more_frames_than_a_reader_bears_none_is_looked_at():
    made = pydicom.dcmread(io.BytesIO(enhanced([VOXELS], NumberOfFrames=16_385)))
    read = dicom_read.ReadFile(image=made, at=0, pixel_bytes=0, has_pixels=True, whole=True)
    with pytest.raises(VolumeRefused, match="more than 16384 frames"):
        dicom_read._each(read, None)


def test_a_frame_of_more_bytes_than_its_pixels_need_is_refused(tmp_path, reader):
    made = pydicom.dcmread(io.BytesIO(enhanced([VOXELS[:, :, :1]], syntax=JPEG2000Lossless)))
    made.PixelData = encapsulate([next(generate_frames(made.PixelData, number_of_frames=1)) + bytes(10**5)])
    made["PixelData"].is_undefined_length = True
    file = io.BytesIO()
    made.save_as(file)
    with pytest.raises(VolumeRefused, match="a frame has more bytes than its pixels can need"):
        reader.read(written({"a": file.getvalue()}, tmp_path))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("how", ["enhanced", "bare", "a class of their vendors"])
def test_an_image_that_is_written_again_is_cut_nowhere(how, syntax, tmp_path, reader):
    """Else GDCM fills up what is missing with whatever its memory holds."""
    if how == "enhanced":
        files = {"a": enhanced([VOXELS], syntax=syntax)}
    else:
        kind = {"SOPClassUID": "1.3.12.2.1107.5.9.1"} if how != "bare" else {}
        files = series(VOXELS, syntax=syntax, **kind)
        files = {name: data[132 * (how == "bare") :] for name, data in files.items()}
    assert np.array_equal(reader.read(written(files, tmp_path)).array, VOXELS)
    name = min(files)
    for cut in (1, 4, 8, 12, 40, 100):
        with pytest.raises(VolumeRefused) as refusal:
            reader.read(written(files | {name: files[name][:-cut]}, tmp_path))
        assert refusal.value.code == "size", (cut, refusal.value.detail)


def test_what_lies_behind_the_pixels_cuts_nothing(tmp_path, reader):
    padding = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0" + bytes(4)
    for syntax in (ExplicitVRLittleEndian, RLELossless):
        files = {"a": enhanced([VOXELS], syntax=syntax) + padding}
        assert np.array_equal(reader.read(written(files, tmp_path)).array, VOXELS)


def test_of_pixels_that_a_file_lost_meanwhile_no_frame_is_made():
    stored = frames.Stored(
        syntax=ExplicitVRLittleEndian, columns=2, rows=2, bits=(16, 16, 15), signed=0, slope="1", intercept="0"
    )
    with pytest.raises(VolumeRefused, match="frame 2 needs 8 bytes of pixels; 5 are there"):
        list(frames.pixels_of(io.BytesIO(bytes(13)), pydicom.Dataset(), stored, 0, [0, 1]))


@pytest.mark.parametrize("how", ["one less in the table", "an end less", "one is empty"])
def test_frames_that_never_come_are_not_read_as_zeros(how, tmp_path, reader):
    slices = [np.ascontiguousarray(VOXELS[:, :, k].T) for k in range(SHAPE[2])]
    encoded = [frame(one.tobytes(), one.shape, one.dtype.name, JPEG2000Lossless) for one in slices]
    if how == "one less in the table":
        pixels = encapsulate(encoded[:-1])
    elif how == "an end less":
        first = [encoded[0][:20], encoded[0][20:40], encoded[0][40:]]  # in three parts
        pixels = encapsulate([*first, *encoded[1:-1]], has_bot=False)
    else:
        pixels = encapsulate(encoded[:-1], has_bot=False) + b"\xfe\xff\x00\xe0" + bytes(4)
    data = enhanced([VOXELS], syntax=JPEG2000Lossless, PixelData=pixels)
    with pytest.raises(VolumeRefused, match=r"it has 6 frames, and 5 are there|frame 6 is empty") as refusal:
        reader.read(written({"a": data}, tmp_path))
    assert refusal.value.code == "size"


def test_of_an_image_whose_wanted_frames_did_not_come_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_read, "_pictures", lambda *_: iter(()))
    monkeypatch.setattr(dicom_read.ShownFiles, "each", lambda *_: iter([0]))
    asked = {"columns": 2, "rows": 2, "dtype": "int16", "order": [0, 0], "frames": [0, 1], "mixed": False}
    shown = dicom_read.ShownFiles(folder=-1, shown_as=-1, file=tmp_path, single=-1)
    with (tmp_path / "memory").open("wb+") as memory:
        memory.truncate(16)
        with pytest.raises(VolumeRefused, match="2 of 2 frames of an image are not there"):
            dicom_read.fill(shown, asked, memory.fileno())


def test_an_enhanced_image_without_frames_does_not_vanish(tmp_path, reader):
    changes = {"NumberOfFrames": 0, "PerFrameFunctionalGroupsSequence": [], "SOPInstanceUID": "1.2.3"}
    files = {"a": enhanced([VOXELS]), "b": enhanced([VOXELS], **changes)}
    with pytest.raises(VolumeRefused, match="it has 0 frames, and 0 of them say where they lie") as refusal:
        reader.read(written(files, tmp_path))
    assert refusal.value.code == "multi-frame"


@pytest.mark.parametrize("change", [{"slope": "2"}, {"intercept": "-7"}])
def test_copies_of_an_enhanced_image_have_the_same_rescaling(change, tmp_path, reader):
    def each(group, _, k):
        group.PixelValueTransformationSequence = rescaled("1", "0")

    def other(group, _, k):
        group.PixelValueTransformationSequence = rescaled(**{"slope": "1", "intercept": "0"} | change)

    first = enhanced([VOXELS], each=each)
    assert np.array_equal(reader.read(written({"a": first, "b": first}, tmp_path)).array, VOXELS)
    with pytest.raises(VolumeRefused) as refusal:
        reader.read(written({"a": first, "b": enhanced([VOXELS], each=other)}, tmp_path))
    assert refusal.value.code == "doubled-slices"
