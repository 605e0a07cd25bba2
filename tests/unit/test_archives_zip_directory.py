"""The bound on a zip archive's directory, in bytes read: Python's own reader would believe all that is claimed."""

import io
import struct
import zipfile

import pytest

from tests.hostile_archives import DICOM_IMAGE, zip_packed
from tomaat.archives import ArchiveLimits, ArchiveRefused
from tomaat.archives.unzip import unzip_dicom
from tomaat.archives.zip_directory import ENTRY_BYTES, check_directory

MIB = 1024**2
LIMITS = ArchiveLimits(largest_upload_bytes=MIB, largest_unpacked_bytes=8 * MIB, most_members=20)
GOOD = zip_packed({"a": DICOM_IMAGE, "b": DICOM_IMAGE})
ENTRY = b"PK\1\2" + bytes(24) + struct.pack("<3H", 1, 0, 0) + bytes(12) + b"a"


class Reads(io.BytesIO):
    """A file that counts the bytes that were asked of it, and gave."""

    asked = 0

    def read(self, size=-1):
        self.asked += size if size >= 0 else len(self.getvalue())
        return super().read(size)


def end(entries, size, *, here=None, comment=b"", said=None):
    here = entries if here is None else here
    said = len(comment) if said is None else said
    return b"PK\5\6" + struct.pack("<4H2LH", 0, 0, here, entries, size, 0, said) + comment


def end_64(entries, size, at, *, place=None, follow=44, disks=1):
    record = b"PK\6\6" + struct.pack("<Q2H2L4Q", follow, 45, 45, 0, 0, entries, entries, size, 0)
    locator = b"PK\6\7" + struct.pack("<LQL", 0, at if place is None else place, disks)
    return record + locator + end(0xFFFF, 0xFFFFFFFF)


def refusal_of(data, limits=LIMITS):
    """Refuse the archive; return the code, and how many bytes were asked of it for that."""
    file = Reads(data)
    with pytest.raises(ArchiveRefused) as refusal:
        check_directory(file, limits)
    return refusal.value.code, file.asked


HUGE = 1024**3
BOMBS = {
    "ten-million-empty-members": (ENTRY * 30_000 + end(10, 30_000 * len(ENTRY)), "directory"),
    "more-members-than-claimed": (ENTRY * 21 + end(20, 21 * len(ENTRY)), "too-many-members"),
    "many-claimed": (ENTRY * 21 + end(21, 21 * len(ENTRY)), "too-many-members"),
    "directory-of-zeros": (bytes(30 * ENTRY_BYTES) + end(2, 21 * ENTRY_BYTES), "directory"),
    "huge-directory": (bytes(MIB) + end(2, HUGE), "directory"),
    "huge-directory-64": (bytes(MIB) + end_64(2, HUGE, MIB), "directory"),
    "many-claimed-64": (ENTRY * 2 + end_64(2**40, 2 * len(ENTRY), 2 * len(ENTRY)), "too-many-members"),
}
CONTRADICTIONS = {
    "fewer-than-claimed": ENTRY * 2 + end(3, 2 * len(ENTRY)),
    "other-count-here": ENTRY * 2 + end(2, 2 * len(ENTRY), here=1),
    "larger-than-the-file": ENTRY + end(2, 2 * len(ENTRY)),
    "no-entries-in-it": bytes(2 * len(ENTRY)) + end(2, 2 * len(ENTRY)),
    "last-entry-cut": ENTRY + ENTRY[:-1] + end(2, 2 * len(ENTRY) - 1),
    "comment-longer-than-the-file": ENTRY + end(1, len(ENTRY), comment=b"c", said=2),
    "comment-shorter-than-the-file": ENTRY + end(1, len(ENTRY), comment=b"ccc", said=2),
    "end-record-in-the-comment": ENTRY + end(1, len(ENTRY), comment=b"c" + end(1, HUGE)[:-2] + b"xxxx"),
    "locator-points-elsewhere": ENTRY + end_64(1, len(ENTRY), len(ENTRY), place=0),
    "locator-of-many-disks": ENTRY + end_64(1, len(ENTRY), len(ENTRY), disks=2),
    "record-64-with-more-behind": ENTRY + end_64(1, len(ENTRY), len(ENTRY), follow=50),
    "locator-without-a-record": ENTRY + end_64(1, len(ENTRY), 0)[56:],
    "nothing": b"",
    "end-record-cut": end(0, 0)[:-1],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_directory_beyond_the_limits_is_refused_without_being_read(name):
    data, code = BOMBS[name]
    refused, asked = refusal_of(data)
    assert refused == code
    assert asked < 70_000 + LIMITS.most_members * 46  # the place of the end records, and each entry that may be there


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_records_that_contradict_each_other_are_refused(name):
    assert refusal_of(CONTRADICTIONS[name])[0] == "broken-zip"


@pytest.mark.parametrize(
    "data",
    [
        GOOD,
        b"before it" + GOOD,
        ENTRY * 20 + end(20, 20 * len(ENTRY)),
        ENTRY + end(1, len(ENTRY), comment=b"a comment"),
        ENTRY + end(1, len(ENTRY), comment=bytes(65_535)),
        ENTRY + end_64(1, len(ENTRY), len(ENTRY)),
        end(0, 0),
    ],
)
def test_a_directory_within_the_limits_is_taken(data):
    check_directory(io.BytesIO(data), LIMITS)


@pytest.mark.parametrize("data", [data for data, _ in BOMBS.values()])
def test_nothing_of_a_refused_directory_reaches_pythons_reader(tmp_path, monkeypatch, data):
    opened = []
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *args, **_: opened.append(args))
    (tmp_path / "a.zip").write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveRefused):
        unzip_dicom(tmp_path / "a.zip", tmp_path / "out", LIMITS)
    assert opened == []


def test_pythons_own_zip64_archives_are_taken(monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)  # from which count on it writes such records
    data = zip_packed({"a": DICOM_IMAGE, "b": DICOM_IMAGE})
    assert b"PK\6\6" in data
    check_directory(io.BytesIO(data), LIMITS)
