"""Files as people's tools write them: the voxels and the place that another reader finds, and what is told.

The header check, which the web side makes, and the limited process, which reads again, agree on each.
"""

import gzip
import struct

import nibabel
import nrrd as pynrrd
import numpy as np
import pytest
import SimpleITK as sitk

from tests.hostile_images import AXES, VOXELS, mha, nifti, nrrd
from tests.integration.test_reader_volume_reader import turned, with_qform
from tomaat.headers import VolumeRefused, read_header
from tomaat.reader import VolumeReader

ARRAY = np.frombuffer(VOXELS, "<i2").reshape((4, 5, 6), order="F")
LPS = np.diag([-1, -1, 1, 1])
PLAIN = np.diag([1, 1, 2, 1])  #: of the made files, in the space in which they say it
LARGEST = 1024**3
NAN = float("nan")


@pytest.fixture(scope="module")
def reader():
    made = VolumeReader(largest_voxel_bytes=LARGEST)
    yield made
    made.close()


def taken(path, reader, form=None):
    """Check and read a file; the two must agree. Give the voxels, the affine (LPS) and what is told."""
    header = read_header(path, largest_voxel_bytes=LARGEST, form=form)
    told = []
    volume = reader.read(path, form=form, demand=lambda header: told.extend(header.remarks), tell=told.append)
    assert volume.array.shape == header.dimensions
    assert (volume.spacing_mm, volume.origin_mm, volume.direction) == (
        header.spacing_mm,
        header.origin_mm,
        header.direction,
    )
    affine = np.eye(4)
    affine[:3, :3] = np.multiply(volume.direction, volume.spacing_mm)
    affine[:3, 3] = volume.origin_mm
    return volume.array, affine, [f"{remark.code}: {remark.detail}" for remark in told]


def patched(data, *changes):
    """Change numbers of a header: byte, word of ``struct``, value."""
    made = bytearray(data)
    for place, word, value in changes:
        struct.pack_into(f"<{word}", made, place, value)
    return bytes(made)


def nifti_2(**changes):
    made = nibabel.Nifti2Image(ARRAY, LPS @ PLAIN @ turned_about_z(20))
    made.set_qform(made.affine, 1)
    for key, value in changes.items():
        made.header[key] = value
    return made.to_bytes()


def turned_about_z(degrees):
    affine = np.eye(4)
    affine[:3] = np.reshape(turned(degrees), (3, 4)) / (1, 1, 2, 1)
    return affine


def extended(megabytes):
    made = nibabel.Nifti1Image(ARRAY, PLAIN)
    made.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"{}" * (megabytes * 512 * 1024)))
    return made.to_bytes()


def members(data, size):
    return b"".join(gzip.compress(data[at : at + size]) for at in range(0, len(data), size))


NIFTIS = {
    "two places, the same code": ("x.nii", with_qform(nifti(srow=turned(30)), 20), ["two-places"]),
    "two places, the sform's code higher": ("x.nii", with_qform(nifti(srow=turned(30)), 20, 1, 4), ["two-places"]),
    "two places, little apart": ("x.nii", with_qform(nifti(srow=turned(20, shift_mm=0.05)), 20, 2, 1), []),
    "the sform is no number": ("x.nii", with_qform(nifti(srow=(NAN,) * 12), 20, 1, 0), []),
    "the qform is no number": ("x.nii", nifti(srow=turned(20), qoffset=NAN), []),
    "pixdim of another volume": ("x.nii", nifti(pixdim=(1, 3, 3, 3, 0, 0, 0, 0)), ["mended"]),
    "pixdim is zero": ("x.nii", nifti(pixdim=(1, 1, 1, 0, 0, 0, 0, 0)), ["mended"]),
    "pixdim is no number": ("x.nii", nifti(pixdim=(1, 1, NAN, 2, 0, 0, 0, 0)), ["mended"]),
    "NIfTI-2": ("x.nii", nifti_2(), []),
    "NIfTI-2, compressed": ("x.nii.gz", gzip.compress(nifti_2(qform_code=0)), []),
    "extensions of 3 MB": ("x.nii.gz", gzip.compress(extended(3), 1), []),
    "extensions of 3 MB, not compressed": ("x.nii", extended(3), []),
    "many members": ("x.nii.gz", members(nifti(), 7), []),
    "zeros behind gzip": ("x.nii.gz", gzip.compress(nifti()) + bytes(512), ["bytes-behind"]),
    "bytes behind the voxels, compressed": ("x.nii.gz", gzip.compress(nifti() + b"xy"), ["bytes-behind"]),
    "bytes behind the voxels": ("x.nii", nifti() + bytes(16), ["bytes-behind"]),
    "upper case": ("X.NII.GZ", gzip.compress(nifti()), []),
    "micrometres, and the axes not square": (
        "x.nii",
        patched(
            nifti(srow=tuple(1000 * x for x in turned(20, shear=0.001)), pixdim=(1, 1e3, 1e3, 2e3, 0, 0, 0, 0)),
            (123, "B", 3),
        ),
        ["made-square"],
    ),
}


@pytest.mark.parametrize("kind", NIFTIS)
def test_a_nifti_has_the_voxels_and_the_place_that_nibabel_finds(kind, tmp_path, reader):
    name, data, codes = NIFTIS[kind]
    (tmp_path / name).write_bytes(data)
    array, affine, told = taken(tmp_path / name, reader)
    theirs = nibabel.load(tmp_path / name)
    assert np.array_equal(array, np.asarray(theirs.dataobj))
    unit_mm = np.diag([1e-3, 1e-3, 1e-3, 1]) if "micrometres" in kind else np.eye(4)
    assert np.allclose(affine, LPS @ unit_mm @ theirs.affine, atol=6e-3 if "square" in kind else 1e-5)
    assert [words.split(":")[0] for words in told] == codes


MENDED = {
    "voxels from byte 352 on": (nifti(vox_offset=0.0), ["mended"]),
    "voxels from byte 348 on": (nifti(vox_offset=0.0)[:348] + VOXELS, ["mended"]),
    "voxels where the header ends": (nifti(vox_offset=348.0), ["mended"]),
    "bitpix of another type": (nifti(bitpix=64), ["mended"]),
    "a fourth dimension of 0": (nifti(dim=(4, 4, 5, 6, 0, 1, 1, 1)), ["mended"]),
    "an sform of zeros": (with_qform(nifti(srow=(0,) * 12), 0), ["form-unusable"]),
    "an sform that is no number": (with_qform(nifti(srow=(NAN,) * 12), 0), ["form-unusable"]),
    "a qform that is no rotation": (patched(nifti(), (252, "h", 1), (256, "f", 9.0)), ["form-unusable"]),
}


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("kind", MENDED)
@pytest.mark.parametrize("packed", [False, True])
def test_of_a_niftis_contradictions_the_better_witness_counts_and_it_is_told(kind, packed, name, tmp_path, reader):
    data, codes = MENDED[kind]
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)  # whatever the name says
    array, affine, told = taken(tmp_path / name, reader)
    assert np.array_equal(array, ARRAY)
    assert np.allclose(affine, LPS @ PLAIN, atol=1e-5)
    assert [words.split(":")[0] for words in told] == codes


@pytest.mark.parametrize("size", [10_000, 100])
def test_whole_volumes_behind_compressed_voxels_refuse_a_file(size, tmp_path, reader):
    (tmp_path / "x.nii.gz").write_bytes(members(nifti(voxels=VOXELS * 3), size))
    read_header(tmp_path / "x.nii.gz")  # nobody knows yet
    with pytest.raises(VolumeRefused, match="240 bytes of voxels, 4 x 5 x 6 of int16; there are 3 times as many"):
        reader.read(tmp_path / "x.nii.gz")


def test_of_what_comes_out_behind_compressed_voxels_no_more_is_inflated_than_is_passed_over(tmp_path, reader):
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(nifti() + bytes(66 * 1024**2), 1))
    with pytest.raises(VolumeRefused, match="claims 240 bytes of voxels; more than 67109104 come out"):
        reader.read(tmp_path / "x.nii.gz")


def test_the_form_with_the_higher_code_places_a_nifti_or_the_one_that_is_asked_for(tmp_path, reader):
    (tmp_path / "x.nii").write_bytes(with_qform(nifti(srow=turned(30)), 20, 2, 1))
    theirs = nibabel.load(tmp_path / "x.nii")
    _, by_code, told = taken(tmp_path / "x.nii", reader)
    assert np.allclose(by_code, LPS @ theirs.get_qform(), atol=1e-5)
    assert told == [
        "two-places: qform and sform put the volume at two places, up to 0.872 mm apart. The qform was taken, by the "
        'codes (sform_code 1, qform_code 2); {"form": "sform"} in main.json takes the sform.'
    ]
    _, asked, told = taken(tmp_path / "x.nii", reader, "sform")
    assert np.allclose(asked, LPS @ theirs.get_sform(), atol=1e-5)
    assert "The sform was taken, as was asked;" in told[0]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.nii", nifti(), "qform: qform_code is 0, so the file has none."),
        ("x.nii", patched(nifti(), (252, "h", 1), (256, "f", 9.0)), "qform: 9 x 0 x 0 is no rotation"),
        ("x.mha", mha(), "form: qform was chosen, but only NIfTI (.nii.gz, .nii) has one."),
    ],
)
def test_a_form_that_is_not_there_is_refused(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VolumeRefused) as refusal:
        read_header(tmp_path / name, form="qform")
    assert words in refusal.value.detail


def test_a_sheared_sform_beside_a_qform_is_refused_and_the_qform_can_be_asked_for(tmp_path, reader):
    (tmp_path / "x.nii").write_bytes(with_qform(nifti(srow=turned(20, shear=0.05)), 20))
    with pytest.raises(VolumeRefused, match="or take the qform, by"):
        read_header(tmp_path / "x.nii")
    _, affine, _ = taken(tmp_path / "x.nii", reader, "qform")
    assert np.allclose(affine, LPS @ nibabel.load(tmp_path / "x.nii").get_qform(), atol=1e-5)


def texts():
    """MHA and NRRD with what their writers add: name, bytes, codes of remarks."""
    short = "Schädel nativ é".encode()
    keys = b"dim[0] = 3\nqoffset_x = 1\n0008|0060 = CT\n0010/0010 = M\xc3\xbcller^J\xf6rg\nComment = " + short + b"\n"
    noise = keys + b"no field at all\n\nFile: /etc/passwd = x\n" + b"x = " + b"a" * 70_000 + b"\n"
    wide = np.frombuffer(VOXELS, "<i2").astype("<i4").tobytes()
    none = nrrd(dimension="4", sizes="1 4 5 6", kinds="list domain domain domain", space_directions=f"none {AXES}")
    tabs = nrrd(extra='# made by\tsomebody\x07\nUNITS:=HU\ntype:=CT\nSpace\tUnits:\t"mm" "mm" "mm"\n')
    segments = "".join(f"Segment{n}_Name:=Großhirn {n}\n" + f"Segment{n}_Tags:={'x' * 600}\n" for n in range(117))
    return {
        "MHA with other fields": ("x.mha", noise + mha(), []),
        "MHA of MetaIO's long": ("x.mha", mha(wide, ElementType="MET_LONG"), []),
        "MHA of MetaIO's unsigned long": ("x.mha", mha(wide, ElementType="MET_ULONG"), []),
        "MHA with its voxels at the end": ("x.mha", mha(b"padding" + VOXELS, HeaderSize="-1"), []),
        "MHA with bytes behind": ("x.mha", mha(VOXELS + b"\n"), ["bytes-behind"]),
        "NRRD with tabs, comments and keys like fields": ("x.nrrd", tabs, []),
        "NRRD with upper case": ("x.nrrd", nrrd().replace(b"space origin", b"SPACE ORIGIN"), []),
        "NRRD with a list of one": ("x.nrrd", none, []),
        "NRRD with its voxels at the end": ("x.nrrd", nrrd(b"padding" + VOXELS, byte_skip="-1"), []),
        "NRRD with bytes behind": ("x.nrrd", nrrd(VOXELS + b"\n"), ["bytes-behind"]),
        "NRRD with 117 segments": ("x.nrrd", nrrd(extra=segments), []),
        "NRRD of several members": ("x.nrrd", nrrd(members(VOXELS, 50), encoding="gzip"), []),
        "NRRD with zeros behind": ("x.nrrd", nrrd(gzip.compress(VOXELS) + bytes(9), encoding="gzip"), ["bytes-behind"]),
    }


@pytest.mark.parametrize("kind", texts())
def test_what_writers_add_to_a_text_header_changes_nothing(kind, tmp_path, reader):
    name, data, codes = texts()[kind]
    (tmp_path / name).write_bytes(data)
    array, affine, told = taken(tmp_path / name, reader)
    assert np.array_equal(array, ARRAY)
    assert np.array_equal(affine, PLAIN)
    assert [words.split(":")[0] for words in told] == codes


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd"])
def test_what_simpleitk_writes_of_a_nifti_with_all_that_it_knows_is_read_as_it_reads_it(name, tmp_path, reader):
    nibabel.save(nibabel.Nifti1Image(ARRAY, PLAIN @ turned_about_z(20)), tmp_path / "x.nii")
    image = sitk.ReadImage(str(tmp_path / "x.nii"))
    for key, value in {
        "0008|0060": "CT",
        "0010|0010": "Müller^Jörg",
        "Comment": "Schädel\nElement",
        "a:b": "=",
    }.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / name), True)
    array, affine, told = taken(tmp_path / name, reader)
    theirs = sitk.ReadImage(str(tmp_path / "x.nii"))
    assert np.array_equal(array, sitk.GetArrayFromImage(theirs).T)
    assert np.allclose((affine @ [3, 4, 5, 1])[:3], theirs.TransformIndexToPhysicalPoint((3, 4, 5)), atol=1e-5)
    assert told == []


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # pynrrd's own, from Python 3.12
def test_a_list_of_one_that_pynrrd_writes_is_a_volume(tmp_path, reader):
    header = {
        "space": "RAS",
        "space directions": [[None] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 2]],
        "space origin": [5, 6, 7],
    }
    pynrrd.write(str(tmp_path / "x.nrrd"), ARRAY[None], header)
    array, affine, _ = taken(tmp_path / "x.nrrd", reader)
    assert np.array_equal(array, pynrrd.read(str(tmp_path / "x.nrrd"))[0][0])
    assert np.array_equal(affine[:3, 3], (-5, -6, 7))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.nii", b"<!DOCTYPE html><html>", "it is a web page; download the volume again"),
        ("x.nii.gz", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("x.nii.gz", b"", "it is empty"),
        ("x.nii.gz", gzip.compress(b"\0\0\0\1" + bytes(400)), "mri_convert head.mgz head.nii.gz"),
        ("x.nii", b"PK\3\4" + bytes(500), "it is a zip archive"),
        ("x.nii", bytes(128) + b"DICM", "it is DICOM; send its series as .zip"),
        ("x.nii", nifti(magic=b"ni1\0")[:348], "its voxels lie in another file; write both as one .nii.gz"),
        ("x.nii", gzip.compress(gzip.compress(nifti())), "gzip within gzip; unpack it once"),
        (
            "x.nii",
            nifti(pixdim=(1, 1, 1, 0, 0, 0, 0, 0), codes=(1, 0)),
            "pixdim[3]: 0.0 is outside 0.0001 to 1000 mm; write",
        ),
        ("x.nrrd", gzip.compress(nrrd()), "it is gzip; send it unpacked"),
        (
            "x.nrrd",
            nrrd(encoding="bzip2"),
            "'bzip2' is not taken; raw and gzip are: write it again as one file with gzip",
        ),
        ("x.nrrd", nrrd(encoding="hex"), "'hex' is not taken; raw and gzip are: write it again"),
        ("x.nrrd", nrrd(data_file="LIST"), "the voxels must lie in the same file; write it again as one file"),
        ("x.mha", mha(ElementDataFile="a.raw"), "save the volume as .mha, not as .mhd and .raw"),
        ("x.mha", mha(ElementSpacing="1 0 2"), "spacing along j: 0.0 is outside"),
    ],
)
def test_a_refusal_names_the_value_and_what_to_do(name, data, words, tmp_path):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(VolumeRefused) as refusal:
        read_header(tmp_path / name)
    assert words in refusal.value.detail
