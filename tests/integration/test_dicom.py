"""DICOM series of strangers through the real, limited reading process."""

import collections
import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    MRImageStorage,
    RLELossless,
)

from tests.dicom_series import EXACT, UID_ROOT, frame, image, series, voxels_of, written
from tests.fuzz import mutated
from tomaat.headers import VolumeRefused
from tomaat.reader import VolumeReader

MIB = 1024**2
LARGEST = 64 * MIB
SHAPE = (24, 17, 5)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0] * (0.5, 0.75, 2.5)
OBLIQUE[:3, 2] *= np.sign(np.linalg.det(OBLIQUE[:3, :3]))
OBLIQUE[:3, 3] = (-120.5, 33.25, 800)
VOXELS = voxels_of(SHAPE)
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
SIEMENS = "1.3.12.2.1107.5.9.1"  #: a class of theirs, of files without pixels


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=LARGEST)
    yield made
    made.close()


@pytest.mark.parametrize("syntax", EXACT.values(), ids=list(EXACT))
def test_a_series_keeps_voxels_and_geometry_in_each_transfer_syntax(syntax, tmp_path, reader):
    volume = reader.read(written(series(VOXELS, OBLIQUE, syntax), tmp_path))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, VOXELS)
    for index in [(0, 0, 0), (23, 16, 4), (3, 1, 2)]:
        assert volume.to_physical(index) == pytest.approx((OBLIQUE @ [*index, 1])[:3], abs=1e-3)


def test_lossy_jpeg_is_read_as_another_decoder_reads_it(tmp_path, reader):
    pixels = (voxels_of((32, 32, 1))[:, :, 0] // 8).astype(np.uint8)
    volume = reader.read(written({"a": image(pixels, JPEGBaseline8Bit)}, tmp_path))
    from PIL import Image  # noqa: PLC0415 (the other decoder)

    other = np.asarray(Image.open(io.BytesIO(frame(pixels.tobytes(), pixels.shape, "uint8", JPEGBaseline8Bit))))
    assert np.abs(volume.array[:, :, 0].T.astype(int) - other).max() <= 1


def test_a_series_lies_where_itks_own_series_reader_has_it(tmp_path, reader):
    folder = written(series(VOXELS, OBLIQUE), tmp_path)
    other = sitk.ImageSeriesReader()
    other.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    theirs = other.Execute()
    ours = reader.read(folder)
    assert np.array_equal(ours.array, sitk.GetArrayFromImage(theirs).transpose(2, 1, 0))
    assert ours.to_physical((4, 3, 2)) == pytest.approx(theirs.TransformIndexToPhysicalPoint((4, 3, 2)), abs=1e-3)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [("1", "-1024", np.int32), ("0.5", "10", np.float64), ("2", "0", np.int32)]
)
def test_values_are_rescaled(slope, intercept, dtype, tmp_path, reader):
    files = series(VOXELS, RescaleSlope=slope, RescaleIntercept=intercept)
    volume = reader.read(written(files, tmp_path))
    assert volume.array.dtype == dtype
    assert np.array_equal(volume.array, VOXELS * float(slope) + float(intercept))


def test_twelve_bits_with_an_offset_stay_sixteen_bits(tmp_path, reader):
    files = series(VOXELS.astype(np.uint16), BitsStored=12, HighBit=11, RescaleSlope="1", RescaleIntercept="-1024")
    volume = reader.read(written(files, tmp_path))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, VOXELS - 1024)


def test_images_that_are_rescaled_differently_become_float(tmp_path, reader):
    one, two = series(VOXELS[:, :, :2]).values()
    two = changed(two, RescaleSlope="0.25", RescaleIntercept="0")
    volume = reader.read(written({"a": one, "b": two}, tmp_path))
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array[:, :, 0], VOXELS[:, :, 0])
    assert np.array_equal(volume.array[:, :, 1], VOXELS[:, :, 1] * 0.25)


def test_a_volume_knows_what_its_images_say_of_themselves(tmp_path, reader):
    files = series(VOXELS, OBLIQUE, Modality="MR", SOPClassUID=MRImageStorage, PatientComments="secret")
    headers = reader.read(written(files, tmp_path)).dicom.headers
    assert [header["00080018"]["Value"][0][-2:] for header in headers] == [".1", ".2", ".3", ".4", ".5"]
    first = pydicom.Dataset.from_json({tag: value for tag, value in headers[0].items() if not tag.startswith("0002")})
    assert (str(first.PatientName), first.PatientID, first.Modality) == ("Müller^Jane", "4711", "MR")
    assert first.ImagePositionPatient == pytest.approx(OBLIQUE[:3, 3])
    assert headers[0]["00020010"]["Value"] == ["1.2.840.10008.1.2.1"]
    assert "secret" not in str(headers)


def test_names_in_other_scripts_are_decoded(tmp_path, reader):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    data = image(VOXELS[:, :, 0].T, SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)
    header = reader.read(written({"a": data}, tmp_path)).dicom.headers[0]
    assert header["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]


def test_what_anonymisation_emptied_is_taken_from_the_files_own_words(tmp_path, reader):
    emptied = dict.fromkeys(("SeriesInstanceUID", "StudyInstanceUID", "PatientName"), "")
    files = {name: changed(data, SOPInstanceUID="", SOPClassUID="", **emptied) for name, data in series(VOXELS).items()}
    headers = reader.read(written(files, tmp_path)).dicom.headers
    assert len({header["00080018"]["Value"][0] for header in headers}) == 5
    assert "00100010" not in headers[0]


def test_of_several_series_the_chosen_one_is_read(tmp_path, reader):
    files = series(VOXELS) | {f"other{n}": d for n, d in series(VOXELS[:, :, :2] + 1, SeriesInstanceUID="1.9").items()}
    folder = written(files, tmp_path)
    with pytest.raises(VolumeRefused, match=r"2 series were sent: .*\(CT 'K\\xf6pf axial', 5 images\); 1\.9 \(CT"):
        reader.read(folder)
    assert np.array_equal(reader.read(folder, series="1.9").array, VOXELS[:, :, :2] + 1)


BESIDE = {
    "index": {"SOPClassUID": "1.2.840.10008.1.3.10", "SeriesInstanceUID": None},
    "report": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"},
    "contours": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3"},
    "presentation": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"},
    "spectrum": {"SOPClassUID": SIEMENS},
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_image_is_set_aside_and_told(name, syntax, tmp_path, reader):
    folder = written(series(VOXELS) | {"Z": beside(syntax, **BESIDE[name])}, tmp_path)
    told = []
    assert np.array_equal(reader.read(folder, demand=lambda header: told.extend(header.remarks)).array, VOXELS)
    kind = pydicom.uid.UID(BESIDE[name]["SOPClassUID"]).name
    words = f"DICOM file number 6 ({kind}) (by name, or as a zip archive has them) is no image, and set aside."
    assert [remark.detail for remark in told] == ([] if name == "index" else [words])


def test_what_may_be_an_image_of_the_series_is_not_set_aside(tmp_path, reader):
    """It is cut between two attributes, and of a class that the standard does not have."""
    cut = image(PIXELS, SOPClassUID=SIEMENS, ImagePositionPatient=[0, 0, 5])
    cut = cut[: cut.index(b"\x20\x00\x32\x00DS")]
    with pytest.raises(VolumeRefused, match=r"number 6 \(1\.3\.12.* is without pixels in the series of the images"):
        reader.read(written(series(VOXELS) | {"Z": cut}, tmp_path))
    other = cut.replace(f"{UID_ROOT}2".encode(), f"{UID_ROOT}7".encode())
    assert np.array_equal(reader.read(written(series(VOXELS) | {"Z": other}, tmp_path)).array, VOXELS)


@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.30", CTImageStorage])
def test_floats_of_a_map_are_no_slice_and_those_of_another_class_are_refused(kind, tmp_path, reader):
    floats = pydicom.dcmread(io.BytesIO(image(PIXELS, SOPClassUID=kind)))
    floats.FloatPixelData = PIXELS.astype(np.float32).tobytes()
    del floats.PixelData
    file = io.BytesIO()
    floats.save_as(file)
    folder = written(series(VOXELS) | {"Z": file.getvalue()}, tmp_path)
    if kind == CTImageStorage:
        with pytest.raises(VolumeRefused, match="1 of 6 DICOM files cannot be read: number 6"):
            reader.read(folder)
    else:
        assert np.array_equal(reader.read(folder).array, VOXELS)


@pytest.mark.parametrize("class_of_file", [RT_PLAN, CTImageStorage])
def test_a_file_is_no_image_only_where_it_says_so_each_time(class_of_file, tmp_path, reader):
    plan = pydicom.dcmread(io.BytesIO(beside(SOPClassUID=RT_PLAN)))
    plan.file_meta.MediaStorageSOPClassUID = class_of_file
    folder = written(series(VOXELS) | {"Z": saved(plan)}, tmp_path)
    if class_of_file == RT_PLAN:
        assert np.array_equal(reader.read(folder).array, VOXELS)
    else:
        with pytest.raises(VolumeRefused, match="1 of 6 DICOM files cannot be read: number 6 "):
            reader.read(folder)


def beside(syntax=ExplicitVRLittleEndian, **changes):
    """Make what a scanner puts beside its images: a file without any attribute of an image's pixels."""
    none = dict.fromkeys(("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"))
    return image(PIXELS, syntax, **none, **{"SeriesInstanceUID": "1.8", "Modality": "OT", **changes})


def test_only_what_is_no_image_is_no_volume(tmp_path, reader):
    with pytest.raises(VolumeRefused, match=r"^No DICOM image was sent\.$"):
        reader.read(written({"a": beside(**BESIDE["report"])}, tmp_path))


def broken(data, at, how):
    filler = {"cut": b"", "zeros": bytes(len(data) - at), "noise": random.Random(at).randbytes(len(data) - at)}
    return data[:at] + filler[how]


@pytest.mark.parametrize("how", ["cut", "zeros", "noise"])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless]
)
def test_no_slice_is_lost_with_a_broken_header(syntax, how, tmp_path, reader):
    """Wherever it breaks, of the first, the last or a slice between: the others were an image that looks whole."""
    files = series(VOXELS, syntax=syntax)
    names = sorted(files)
    for turn, at in enumerate([132, 140, 300, 400, *range(133, 700, 71)]):
        name = names[turn % len(names)]
        damaged = broken(files[name], at, how)
        with pytest.raises(VolumeRefused) as refusal:
            reader.read(written(files | {name: damaged}, tmp_path))
        number = names.index(name) + 1
        assert refusal.value.detail.startswith(f"1 of 5 DICOM files cannot be read: number {number} (by name"), at
        assert refusal.value.code == "unreadable"


@pytest.mark.parametrize("kind", [b"", CTImageStorage.encode(), SIEMENS.encode(), b"1.2.840.10008.5.1.4.1.1.999"])
def test_an_image_that_ends_before_its_pixels_is_not_taken_for_something_else(kind, tmp_path, reader):
    own = image(PIXELS, SOPClassUID="1.2.840.10008.5.1.4.1.1.123", ImagePositionPatient=[0, 0, 5])
    own = own.replace(b"1.2.840.10008.5.1.4.1.1.123", kind.ljust(27, b"\0"))
    for start in (b"\x20\x00\x0d\x00UI", b"\x20\x00\x0e\x00UI", b"\x28\x00\x11\x00US", b"\xe0\x7f\x10\x00O"):
        for at in (own.index(start), own.index(start) + 10):  # between two attributes, and within one
            with pytest.raises(VolumeRefused, match="1 of 6 DICOM files cannot be read: number 6 "):
                reader.read(written(series(VOXELS) | {"Z": own[:at]}, tmp_path))


def test_a_few_of_many_broken_files_are_numbered(tmp_path, reader):
    files = dict.fromkeys("abcdef", GOOD[:300]) | {"g": GOOD}
    with pytest.raises(VolumeRefused, match=r"^6 of 7 DICOM files cannot be read: number 1, 2, 3, 4, … \(by name"):
        reader.read(written(files, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("syntax", EXACT.values(), ids=list(EXACT))
def test_no_slice_is_read_without_some_of_its_pixels(syntax, tmp_path, reader):
    files = series(VOXELS[:, :, :2], syntax=syntax)
    for at in range(max(map(len, files.values())) - 1, PIXELS_AT, -47):
        damaged = written(files | {"IM00000": files["IM00000"][:at]}, tmp_path)
        try:
            array = reader.read(damaged).array
        except VolumeRefused:
            continue
        assert np.array_equal(array, VOXELS[:, :, :2])  # the mark of the end alone was cut


def saved(made):
    file = io.BytesIO()
    made.save_as(file)
    return file.getvalue()


def changed(data, **changes):
    made = pydicom.dcmread(io.BytesIO(data))
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    return saved(made)


def compressed(data, syntax=JPEG2000Lossless):
    """Put other compressed data into an image."""
    made = pydicom.dcmread(io.BytesIO(image(VOXELS[:, :, 0].T)))
    made.file_meta.TransferSyntaxUID = syntax
    made.PixelData = encapsulate([data])
    made["PixelData"].is_undefined_length = True
    return saved(made)


def nested(depth):
    opened = b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return GOOD[:PIXELS_AT] + opened * depth + closed * depth + GOOD[PIXELS_AT:]


def bomb():
    """Deflate an image with 256 MiB of a document before its pixels, into a quarter of one."""
    small = image(PIXELS, DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(small[140:144], "little")  # behind the preamble and the group of the file's own words
    plain = zlib.decompress(small[start:], -zlib.MAX_WBITS)
    pixels = plain.index(b"\xe0\x7f\x10\x00")
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    document = packer.compress(plain[:pixels] + b"\x42\x00\x11\x00OB\0\0" + (256 * MIB).to_bytes(4, "little"))
    document += b"".join(packer.compress(bytes(MIB)) for _ in range(256))
    return small[:start] + document + packer.compress(plain[pixels:]) + packer.flush()


def with_own(data, group, creator, *attribute):
    """Add an attribute of a vendor's own."""
    made = pydicom.dcmread(io.BytesIO(data))
    made.private_block(group, creator, create=True).add_new(*attribute)
    file = io.BytesIO()
    made.save_as(file)
    return file.getvalue()


def zeros(rows, columns):
    """Make an image of zeros of any size in 932 bytes: nothing of JPEG 2000's says so but the size in its header."""
    none = np.zeros((64, 64), np.int16)
    stream = bytearray(frame(none.tobytes(), none.shape, "int16", JPEG2000Lossless))
    size = stream.index(b"\xff\x51") + 6  # of the image, then of its one tile
    stream[size : size + 8] = stream[size + 16 : size + 24] = struct.pack(">2L", columns, rows)
    return image(none, JPEG2000Lossless, Rows=rows, Columns=columns, PixelData=encapsulate([bytes(stream)]))


PIXELS = np.ascontiguousarray(VOXELS[:, :, 0].T)
J2K = frame(PIXELS.tobytes(), PIXELS.shape, "int16", JPEG2000Lossless)
RLE = frame(PIXELS.tobytes(), PIXELS.shape, "int16", RLELossless)
GOOD = image(PIXELS)
PIXELS_AT = GOOD.index(b"\xe0\x7f\x10\x00")
TOO_LONG = b"\x08\x00\x05\x10UN\0\0\xff\xff\xff\x7f"
FEWER_ROWS = b"\x28\x00\x10\x00US\x02\x00\x10\x00"  # GDCM keeps an attribute's first value, pydicom its last
HOSTILE = {
    "cut-in-the-pixels": (GOOD[:-100], "size"),
    "cut-in-the-header": (GOOD[: PIXELS_AT - 30], "unreadable"),
    "magic-only": (bytes(128) + b"DICM", "unreadable"),
    "noise": (bytes(128) + b"DICM" + np.random.default_rng(1).bytes(5000), "unreadable"),
    "fewer-pixels-than-rows-need": (image(PIXELS, PixelData=PIXELS.tobytes()[:200]), "size"),
    "rows-and-columns-lie": (image(PIXELS, Rows=65535, Columns=65535), "too-large"),
    "rows-lie": (image(PIXELS, Rows=60), "size"),
    "jpeg-2000-of-zeros-16000-x-16000": (zeros(16_000, 16_000), "too-large"),
    "jpeg-2000-of-zeros-4096-x-4096": (zeros(4096, 4096), "ratio"),
    "jpeg-2000-of-zeros-1000-x-1000": (zeros(1000, 1000), "ratio"),
    "jpeg-2000-of-zeros-65535-x-1100": (zeros(65_535, 1100), "too-large"),
    "rows-and-columns-lie-compressed": (changed(compressed(J2K), Rows=65535, Columns=65535), "too-large"),
    "rows-lie-compressed": (changed(compressed(J2K), Rows=16), "unreadable"),
    "rows-twice": (GOOD[:PIXELS_AT] + FEWER_ROWS + GOOD[PIXELS_AT:], "dimensions"),
    "no-pixel-data": (image(PIXELS, PixelData=None), "unreadable"),
    "no-rows": (image(PIXELS, Rows=None), "no-pixels"),
    "colour": (image(PIXELS, SamplesPerPixel=3, PhotometricInterpretation="RGB"), "colour"),
    "palette": (image(PIXELS, PhotometricInterpretation="PALETTE COLOR"), "photometric"),
    "inverted": (image(PIXELS, PhotometricInterpretation="MONOCHROME1"), "photometric"),
    "frames": (image(PIXELS, NumberOfFrames=60), "multi-frame"),
    "frames-beyond-all": (image(PIXELS, NumberOfFrames="9" * 400), "unreadable"),
    "mosaic": (image(PIXELS, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), "mosaic"),
    "one-bit": (image(PIXELS, BitsAllocated=1, BitsStored=1, HighBit=0), "voxel-type"),
    "grid": (with_own(image(PIXELS, Manufacturer="UIH"), 0x0065, "Image Private Header", 0x50, "DS", "40"), "mosaic"),
    "high-bit": (image(PIXELS, BitsStored=12, HighBit=14), "voxel-type"),
    "slope-zero": (image(PIXELS, RescaleSlope="0", RescaleIntercept="0"), "header"),
    "slope-nan": (image(PIXELS, RescaleSlope="nan", RescaleIntercept="0"), "header"),
    "slope-text": (image(PIXELS, RescaleSlope="7777").replace(b"7777", b"much"), "header"),
    "table-of-values": (image(PIXELS, ModalityLUTSequence=Sequence([pydicom.Dataset()])), "modality-table"),
    "spacing-zero": (image(PIXELS, PixelSpacing=[0, 1]), "spacing"),
    "spacing-negative": (image(PIXELS, PixelSpacing=[1, -1]), "spacing"),
    "spacing-huge": (image(PIXELS, PixelSpacing=["1e30", 1]), "spacing"),
    "spacing-absent": (image(PIXELS, PixelSpacing=None), "no-geometry"),
    "position-nan": (image(PIXELS, ImagePositionPatient=["nan", 0, 0]), "no-geometry"),
    "position-of-two": (image(PIXELS, ImagePositionPatient=[0, 0]), "no-geometry"),
    "axes-sheared": (image(PIXELS, ImageOrientationPatient=[1, 0, 0, "0.5", 1, 0]), "direction"),
    "axes-zero": (image(PIXELS, ImageOrientationPatient=[0] * 6), "direction"),
    "thickness-zero": (image(PIXELS, SliceThickness=0), "no-thickness"),
    "syntax-unknown": (changed(GOOD).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"), "transfer-syntax"),
    "syntax-high-throughput": (compressed(J2K, pydicom.uid.HTJ2KLossless), "transfer-syntax"),
    "syntax-video": (compressed(J2K, pydicom.uid.MPEG2MPML), "transfer-syntax"),
    "syntax-lies": (compressed(RLE, JPEG2000Lossless), "unreadable"),
    "jpeg-2000-cut": (compressed(J2K[: len(J2K) // 2]), "unreadable"),
    "jpeg-2000-empty": (compressed(b"\0\0"), "unreadable"),
    "rle-cut": (compressed(RLE[: len(RLE) // 2], RLELossless), "unreadable"),
    "rle-segments-far": (compressed(RLE[:4] + b"\xff" * 60 + RLE[64:], RLELossless), "unreadable"),
    "nested-50000-deep": (nested(50_000), "unreadable"),
    "deflated-bomb": (bomb(), "unreadable"),
    "deflated-noise": (changed(GOOD).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"), "unreadable"),
    "length-beyond-the-end": (
        GOOD[:PIXELS_AT] + b"\x08\x00\x05\x10UN\0\0\xff\xff\xff\x7f" + GOOD[PIXELS_AT:],
        "unreadable",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_image_is_refused(name, tmp_path, reader):
    data, code = HOSTILE[name]
    folder = written({"Doe^Jane": data}, tmp_path)
    with pytest.raises(VolumeRefused) as refusal:
        reader.read(folder)
    assert refusal.value.code == code, refusal.value.detail
    assert str(tmp_path) not in refusal.value.detail
    assert "Doe" not in refusal.value.detail
    assert "Jane" not in refusal.value.detail
    assert len(refusal.value.detail) < 300


@pytest.mark.slow
def test_whatever_was_changed_in_an_image_it_is_read_or_refused(tmp_path, reader):
    """Anything else, an end of the fork among it, would be an error of ours."""
    chance = random.Random(1)
    seeds = [GOOD, compressed(J2K), compressed(RLE, RLELossless), image(PIXELS, DeflatedExplicitVRLittleEndian)]
    told = collections.Counter()
    for number in range(200):
        data = bytearray(mutated(seeds[number % 4], chance))
        data[128:132] = b"DICM"
        code, words = "read", ""
        try:
            reader.read(written({"a": bytes(data)}, tmp_path))
        except VolumeRefused as refusal:
            code, words = refusal.code, refusal.detail
        told[code] += 1
        assert words.isprintable()
        assert "signal" not in words, f"{number}: {words}"
    assert told["read"] > 10
    assert len(told) > 4


def test_a_link_among_the_images_is_not_followed(tmp_path, reader):
    written({"secret": GOOD}, tmp_path / "elsewhere")
    folder = written({}, tmp_path / "in")
    (folder / "a").symlink_to(tmp_path / "elsewhere" / "secret")
    with pytest.raises(VolumeRefused):
        reader.read(folder)


def test_a_demand_is_made_before_a_pixel_is_read(tmp_path, reader):
    def demand(header):
        raise VolumeRefused("demanded", f"{header.dimensions} {header.spacing_mm}")

    with pytest.raises(VolumeRefused, match=r"^\(24, 17, 5\) \(1\.0, 1\.0, 1\.0\)$"):
        reader.read(written(series(VOXELS), tmp_path), demand=demand)


def test_more_voxels_than_the_reader_may_hold_are_refused(tmp_path):
    reader = VolumeReader(largest_voxel_bytes=VOXELS.nbytes - 1)
    with pytest.raises(VolumeRefused, match=r"4080 bytes of voxels; at most 4079"):
        reader.read(written(series(VOXELS), tmp_path))
    reader.close()


@pytest.mark.slow
def test_reading_series_leaves_no_descriptor_behind(tmp_path, reader):
    folder = written(series(VOXELS), tmp_path)
    reader.read(folder)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        reader.read(folder)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    ("side", "words"),
    [(1000, "more than 1000 times"), (8192, "more than 1000 times"), (16_000, "at most 65535 x 65535 and 67108864")],
)
def test_of_an_image_that_claims_too_much_no_pixel_is_asked_for(side, words, tmp_path, monkeypatch):
    reader, asked = VolumeReader(largest_voxel_bytes=2**32), []
    ask = reader._ask
    monkeypatch.setattr(reader, "_ask", lambda said, *how, **more: asked.append(said) or ask(said, *how, **more))
    with pytest.raises(VolumeRefused, match=f"claims? .* {words}"):
        reader.read(written({"a": zeros(side, side)}, tmp_path))
    assert [said for said in asked if "order" in said] == []
    reader.close()


def test_blank_slices_of_a_series_are_taken(tmp_path, reader):
    voxels = np.zeros((1000, 1000, 3), np.int16)
    voxels[:, :, 1] = voxels_of((1000, 1000, 1))[:, :, 0]
    volume = reader.read(written(series(voxels, syntax=JPEG2000Lossless), tmp_path))
    assert np.array_equal(volume.array, voxels)


@pytest.mark.slow
@pytest.mark.parametrize("slope", [pytest.param("1", marks=pytest.mark.thorough), "1.5"])
@pytest.mark.parametrize("syntax", EXACT.values(), ids=list(EXACT))
def test_a_large_image_fits_the_forks_memory(syntax, slope, tmp_path):
    reader = VolumeReader(largest_voxel_bytes=2**32)
    pixels = np.random.default_rng(0).integers(0, 4000, (3328, 4096)).astype(np.int16)
    volume = reader.read(written({"a": image(pixels, syntax, RescaleSlope=slope, RescaleIntercept="0")}, tmp_path))
    assert np.array_equal(volume.array[:, :, 0].T, pixels * float(slope))
    reader.close()


@pytest.mark.parametrize("with_own_words", [True, False])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_images_without_a_preamble_are_read_as_others(syntax, with_own_words, tmp_path, reader):
    files = {}
    for name, data in series(VOXELS, OBLIQUE, syntax, RescaleSlope="2", RescaleIntercept="-5").items():
        files[name] = data[132 if with_own_words else 144 + int.from_bytes(data[140:144], "little") :]
    volume = reader.read(written(files, tmp_path))
    assert np.array_equal(volume.array, VOXELS * 2 - 5)
    assert volume.to_physical((3, 1, 2)) == pytest.approx((OBLIQUE @ [3, 1, 2, 1])[:3], abs=1e-3)


def test_images_of_a_class_of_their_vendors_are_read_as_others(tmp_path, reader):
    files = series(VOXELS, SOPClassUID="1.3.12.2.1107.5.9.1", RescaleSlope="2", RescaleIntercept="0")
    assert np.array_equal(reader.read(written(files, tmp_path)).array, VOXELS * 2)


def test_copies_of_images_count_once_and_are_told(tmp_path, reader):
    files = series(VOXELS)
    told = []
    volume = reader.read(written(files | {f"{n} (1)": d for n, d in files.items()}, tmp_path), demand=told.append)
    assert np.array_equal(volume.array, VOXELS)
    assert [(one.code, one.detail[:47]) for one in told[0].remarks] == [
        ("copies", "Sent more than once, and counted once: image 1,")
    ]


def test_images_of_one_name_and_place_with_other_pixels_are_no_copies(tmp_path, reader):
    files = series(VOXELS)
    name = min(files)
    other = files[name][:-1] + bytes([files[name][-1] ^ 1])
    with pytest.raises(VolumeRefused, match="1 image lies where another one does, and nothing known tells them apart"):
        reader.read(written(files | {"z": other}, tmp_path))


@pytest.mark.parametrize(
    "changes", [{"RescaleIntercept": "-7"}, {"RescaleSlope": "2"}, {"BitsStored": 12, "HighBit": 11}], ids=str
)
def test_images_whose_pixels_mean_other_values_are_no_copies(changes, tmp_path, reader):
    own = {"RescaleIntercept": "-1000", "RescaleSlope": "3"}
    files = series(VOXELS, **own)
    other = series(VOXELS, **own | changes)
    with pytest.raises(VolumeRefused, match="nothing known tells them apart"):
        reader.read(written(files | {"z": other[min(other)]}, tmp_path))


def test_deflated_images_with_other_pixels_are_no_copies(tmp_path, reader):
    files, other = (series(v, syntax=DeflatedExplicitVRLittleEndian) for v in (VOXELS, VOXELS + 1))
    name = min(files)
    same = written(files | {"z": files[name]}, tmp_path)
    assert np.array_equal(reader.read(same).array, VOXELS)
    with pytest.raises(VolumeRefused, match="1 image lies where another one does, and nothing known tells them apart"):
        reader.read(written(files | {"z": other[name]}, tmp_path))


def test_images_that_all_lack_a_uid_are_no_copies(tmp_path, reader):
    files = {}
    for name, data in series(VOXELS).items():
        made = pydicom.dcmread(io.BytesIO(data))
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = ""
        files[name] = saved(made)
    with pytest.raises(VolumeRefused, match="nothing known tells them apart"):
        reader.read(written(files | {"z": files[min(files)]}, tmp_path))


@pytest.mark.parametrize("word", ["removed", "", "1000\\x"])
def test_a_word_where_a_vendor_writes_a_b_value_breaks_no_image(word, tmp_path, reader):
    own = (0x0019, "SIEMENS MR HEADER", 0x0C, "LO", word)
    files = {name: with_own(data, *own) for name, data in series(VOXELS).items()}
    assert np.array_equal(reader.read(written(files, tmp_path)).array, VOXELS)


@pytest.mark.parametrize(("maker", "slices"), [("UIH", "1"), ("UIH", "many"), ("Other", "40")])
def test_what_is_no_grid_of_slices_is_read(maker, slices, tmp_path, reader):
    own = (0x0065, "Image Private Header", 0x50, "LO", slices)
    data = with_own(image(PIXELS, Manufacturer=maker), *own)
    assert np.array_equal(reader.read(written({"a": data}, tmp_path)).array[:, :, 0], PIXELS.T)
