"""The images of a zip archive, and nothing else of it."""

import contextlib
import io
import stat
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomaat.archives import ArchiveLimits, ArchiveRefused
from tomaat.archives.unzip import unzip_dicom

MIB = 1024**2
LIMITS = ArchiveLimits(largest_upload_bytes=MIB, largest_unpacked_bytes=8 * MIB, most_members=20, ratio_free_bytes=MIB)
IMAGE = bytes(128) + b"DICM" + b"pixels" * 100


def packed(members, method=zipfile.ZIP_DEFLATED, change=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = 0o600 << 16
            if change:
                change(info)
            archive.writestr(info, data)
    return buffer.getvalue()


def unzip(tmp_path, data, limits=LIMITS):
    (tmp_path / "a.zip").write_bytes(data)
    folder = tmp_path / "out"
    folder.mkdir()
    return unzip_dicom(tmp_path / "a.zip", folder, limits), sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_are_taken_under_numbers_and_the_rest_is_left(tmp_path, method):
    members = {"DICOMDIR": b"x" * 200, "Doe^Jane/IM1": IMAGE, "Doe^Jane/IM2.dcm": IMAGE + b"2", "viewer.exe": b"MZ"}
    produced, names = unzip(tmp_path, packed(members, method))
    assert names == ["00001.dcm", "00002.dcm"]
    assert (tmp_path / "out/00002.dcm").read_bytes() == IMAGE + b"2"
    assert stat.S_IMODE((tmp_path / "out/00001.dcm").stat().st_mode) == 0o600
    assert produced == sum(map(len, members.values()))


def link(info):
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def encrypted(data):
    """Set the flag of encryption where both headers have it."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


GOOD = packed({"a": IMAGE})


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "broken-zip"),
        (b"PK\x03\x04" + bytes(100), "broken-zip"),
        (GOOD[:-30], "broken-zip"),
        (GOOD[:50] + b"x" + GOOD[51:], "broken-zip"),
        (packed({"a": IMAGE}, zipfile.ZIP_STORED).replace(b"pixels", b"voxels", 1), "broken-zip"),
        (encrypted(GOOD), "encrypted"),
        (packed({"a": IMAGE}, zipfile.ZIP_BZIP2), "zip-method"),
        (packed({"a": IMAGE}, zipfile.ZIP_LZMA), "zip-method"),
        (packed({"a": b"/etc/passwd"}, change=link), "member-type"),
        (packed({"../a": IMAGE}), "name"),
        (packed({"a/../../b": IMAGE}), "name"),
        (packed({"/etc/a": IMAGE}), "name"),
        (packed({"/".join("abcdefghij"): IMAGE}), "name"),
        (packed({str(n): b"" for n in range(21)}), "too-many-members"),
        (packed({"a": IMAGE + bytes(2 * MIB)}), "ratio"),
        (packed({str(n): IMAGE + bytes(MIB) for n in range(9)}, zipfile.ZIP_STORED), "unpacked-too-large"),
    ],
)
def test_a_bad_zip_is_refused_and_leaves_nothing(tmp_path, data, code):
    limits = ArchiveLimits(**{**vars(LIMITS), "largest_ratio": 100.0})
    with pytest.raises(ArchiveRefused) as refusal:
        unzip(tmp_path, data, limits)
    assert refusal.value.code == code
    assert list((tmp_path / "out").iterdir()) == []


def test_members_that_overlap_are_bounded_by_what_comes_out(tmp_path):
    """A bomb without nesting: many names in the directory for one member's bytes."""
    data = packed({"a": IMAGE + bytes(MIB)}, zipfile.ZIP_STORED)
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


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_was_changed_in_it_an_archive_is_taken_or_refused(tmp_path_factory, data):
    changed = bytearray(packed({"a": IMAGE, "b/c": IMAGE, "d": b"text"}))
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ArchiveRefused):
        unzip(tmp_path_factory.mktemp("zip"), bytes(changed))
