"""The images of a zip archive, and nothing else of it."""

import contextlib
import stat
import time
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.beside_images import CASES
from tests.hostile_archives import DICOM_IMAGE, HOSTILE_ZIPS, link, zip_packed
from tomaat.archives import ArchiveLimits, ArchiveRefused
from tomaat.archives.beside_images import sort_out
from tomaat.archives.unzip import unzip_dicom

MIB = 1024**2
LIMITS = ArchiveLimits(largest_upload_bytes=MIB, largest_unpacked_bytes=8 * MIB, most_members=20, ratio_free_bytes=MIB)


def unzip(tmp_path, data, limits=LIMITS):
    (tmp_path / "a.zip").write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir()
    return unzip_dicom(tmp_path / "a.zip", folder, limits), sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_are_taken_under_numbers_and_the_rest_is_left_and_named(tmp_path, method):
    members = {
        "DICOMDIR": b"x" * 200,
        "Doe^Jane/IM1": DICOM_IMAGE,
        "Doe^Jane/IM2.dcm": DICOM_IMAGE + b"2",
        "viewer.exe": b"MZ",
    }
    left_out, names = unzip(tmp_path, zip_packed(members, method))
    assert names == ["00001.dcm", "00002.dcm"]
    assert (tmp_path / "out/00002.dcm").read_bytes() == DICOM_IMAGE + b"2"
    assert stat.S_IMODE((tmp_path / "out/00001.dcm").stat().st_mode) == 0o600
    assert left_out == ["viewer.exe"]


@pytest.mark.parametrize(
    "name",
    ["C:\\\\a\\\\IM1", "../../IM1", "/etc/IM1", "/".join("abcdefghijkl"), "zero\u200dwidth", "a\x1b[2J", "n" * 2000],
)
def test_a_name_that_is_never_used_refuses_nothing(tmp_path, name):
    assert unzip(tmp_path, zip_packed({name: DICOM_IMAGE})) == ([], ["00000.dcm"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_folders_that_windows_wrote_are_folders(tmp_path):
    members = {"a\\": b"", "a\\IM1": DICOM_IMAGE, "__MACOSX\\._IM1": b"\0\5\x16\7", "a\\.DS_Store": b"\0\0\0\1Bud1"}
    assert unzip(tmp_path, zip_packed(members)) == ([], ["00001.dcm"])


def linked(name):
    def changed(info):
        if info.filename == name:
            link(info)

    return zip_packed({"IM1.v2": DICOM_IMAGE, name: b"/etc/passwd"}, change=changed)


def test_a_link_is_left_out_and_named(tmp_path):
    assert unzip(tmp_path, linked("latest.lnk")) == (["latest.lnk"], ["00000.dcm"])


def test_a_link_without_an_extension_beside_images_that_have_one_is_left_out(tmp_path):
    assert unzip(tmp_path, linked("latest")) == (["latest"], ["00000.dcm"])


@pytest.mark.parametrize("name", ["2.dcm", "2.v2"])
def test_a_link_that_may_stand_for_an_image_refuses_the_archive(tmp_path, name):
    rule = f"^'{name}' in the zip archive is a link, and may stand for an image .zip without -y packs"
    with pytest.raises(ArchiveRefused, match=rule):
        unzip(tmp_path, linked(name))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("case", CASES)
def test_what_lies_beside_images_is_named_and_what_may_be_one_refuses_the_archive(tmp_path, case):
    files, left_out, doubtful = CASES[case]
    if not doubtful:
        assert unzip(tmp_path, zip_packed(files))[0] == left_out
        return
    with pytest.raises(ArchiveRefused) as refusal:
        unzip(tmp_path, zip_packed(files))
    assert refusal.value.code == "not-dicom"
    assert (
        f"may be an image that is broken (empty, or no DICOM): {', '.join(map(repr, doubtful))}. "
        in refusal.value.detail
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_one_of_two_members_of_one_name_is_empty(tmp_path):
    """A dict of names would have forgotten it."""
    packed = zip_packed({"a.dcm": b"", "b.dcm": DICOM_IMAGE}).replace(b"b.dcm", b"a.dcm")
    with pytest.raises(ArchiveRefused, match=r"1 file of the zip archive may be an image that is broken .*'a\.dcm'"):
        unzip(tmp_path, packed)


@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_a_bad_zip_is_refused_and_leaves_nothing(tmp_path, name):
    data, code = HOSTILE_ZIPS[name]
    limits = ArchiveLimits(**{**vars(LIMITS), "largest_ratio": 100.0})
    with pytest.raises(ArchiveRefused) as refusal:
        unzip(tmp_path, data, limits)
    assert refusal.value.code == code
    assert list((tmp_path / "out").iterdir()) == []


def test_members_that_overlap_are_bounded_by_what_comes_out(tmp_path):
    """A bomb without nesting: many names in the directory for one member's bytes."""
    data = zip_packed({"a": DICOM_IMAGE + bytes(MIB)}, zipfile.ZIP_STORED)
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    entry = data[directory:end]
    count = 15
    tail = bytearray(data[end:])
    tail[8:10] = tail[10:12] = count.to_bytes(2, "little")
    tail[12:16] = (count * len(entry)).to_bytes(4, "little")
    with pytest.raises(ArchiveRefused) as refusal:
        unzip(tmp_path, data[:directory] + entry * count + bytes(tail))
    assert refusal.value.code in {"unpacked-too-large", "broken-zip"}


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_was_changed_in_it_an_archive_is_taken_or_refused(tmp_path_factory, data):
    changed = bytearray(zip_packed({"a": DICOM_IMAGE, "b/c": DICOM_IMAGE, "d": b"text"}))
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArchiveRefused):
        unzip(tmp_path_factory.mktemp("zip"), bytes(changed))


def test_thousands_of_folders_with_an_empty_file_are_looked_at_at_once():
    images = [(f"{number:06}", DICOM_IMAGE) for number in range(2500)]
    began = time.process_time()
    left_out, doubtful = sort_out([*images, *((f"{number}/1", b"") for number in range(2500))])
    assert time.process_time() - began < 2
    assert (len(left_out), len(doubtful)) == (0, 2500)
