import base64
import gzip
import io
import os
import random
import struct
import subprocess
import tarfile
import zlib

import pytest
from isal import igzip

from tomaat.archives import members_of, open_member, pack
from tomaat.archives.members import BEGIN, BLOCK_HEAD, LONGEST_STORED, MOST_BARREN_BYTES, Member
from tomaat.archives.pack import CHUNK_BYTES, LAST_BLOCK

CONTENTS = {
    "a.json": b'{"the": "same words"}' * 1000,
    "b.nii.gz": random.Random(1).randbytes(CHUNK_BYTES + 3 * LONGEST_STORED + 17),
    "c.png": b"",
    "d.npy": b"".join(number.to_bytes(4, "little") for number in range(1_200_000)),
    "e.nii.gz": b"x" * LONGEST_STORED,
    "ü.csv": b"",
    "zz" * 90 + ".txt": b"long",
}
EMPTY_BLOCKS = struct.pack("<BHH", 0, 0, 0xFFFF) * MOST_BARREN_BYTES
FILE_BLOCK = struct.pack("<BHH", 1, 9, 9 ^ 0xFFFF) + b"123456789"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    paths = []
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
        paths.append((name, folder / name))
    pack(paths, folder / "result.tar.gz")
    return folder / "result.tar.gz"


def test_the_index_names_the_files_in_their_order_and_tar_reads_the_archive_as_ever(archive):
    with archive.open("rb") as file:
        assert {member.name: member.size for member in members_of(file)} == {
            name: len(content) for name, content in CONTENTS.items()
        }
    with tarfile.open(archive) as opened:
        assert {name: opened.extractfile(name).read() for name in opened.getnames()} == CONTENTS


def test_each_byte_of_each_file_is_found_from_anywhere(archive):
    chance = random.Random(2)
    with archive.open("rb") as file:
        for member in members_of(file):
            content, opened = CONTENTS[member.name], open_member(file, member)
            assert b"".join(iter(lambda read=opened.read: read(100_000), b"")) == content
            near = [0, 1, LONGEST_STORED - 1, LONGEST_STORED, CHUNK_BYTES, max(0, len(content) - 1), len(content)]
            for start in [*near, *(chance.randrange(len(content) + 1) for _ in range(20))]:
                opened.seek(start)
                data = opened.read(1000)
                assert data == content[start : start + len(data)]
                assert data or start >= len(content)
                assert opened.tell() == start + len(data)
            assert opened.seek(0, os.SEEK_END) == len(content)
            assert opened.seek(-len(content), os.SEEK_CUR) == 0


def test_a_file_is_read_by_bytes_of_its_own_and_in_small_steps(archive, monkeypatch):
    read = []
    pread = os.pread
    monkeypatch.setattr("os.pread", lambda *how: read.append(how[1]) or pread(*how))
    with archive.open("rb") as file:
        members = {member.name: member for member in members_of(file)}
        read.clear()
        opened = open_member(file, members["b.nii.gz"])
        opened.seek(CHUNK_BYTES)
        opened.read(10)
        assert read == [10], "what is stored is not read up to there"
        read.clear()
        opened = open_member(file, members["d.npy"])
        opened.seek(3_000_000)
        opened.read(10)
        opened.seek(-5, os.SEEK_CUR)
        first = sum(read)
        opened.read(10)
        assert max(read) <= 64 * 1024
        assert sum(read) == first, "going back a little costs nothing"


@pytest.mark.parametrize(
    ("data", "stored"),
    [(LAST_BLOCK, False), (bytes(BLOCK_HEAD), True), (EMPTY_BLOCKS + FILE_BLOCK, False)],
    ids=["deflated", "stored", "empty-blocks"],
)
def test_a_file_that_has_less_than_its_index_says_is_an_error_and_no_end(tmp_path, data, stored):
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("rb") as file, pytest.raises(OSError, match="0 of 9 bytes"):
        open_member(file, Member(name="x", size=9, offset=0, stored=stored)).read(9)


def test_deflated_data_that_are_broken_are_an_error_of_the_disk_and_no_crash(archive, tmp_path):
    with archive.open("rb") as file:
        member = next(one for one in members_of(file) if not one.stored and one.size > 1000)
    data = bytearray(archive.read_bytes())
    data[member.offset + 1 : member.offset + 41] = b"\xff" * 40
    (tmp_path / "x").write_bytes(data)
    with (tmp_path / "x").open("rb") as file:
        opened = open_member(file, member)
        with pytest.raises(OSError, match="broken"):
            list(iter(lambda: opened.read(100_000), b""))


def with_entries(change):
    """Change the index' content, and write it as it was written."""

    def changed(data):
        end = data.index(b"\0", BEGIN)
        entries = change(base64.b64decode(data[BEGIN:end]))
        text = base64.b64encode(entries)
        return data[: BEGIN - 5] + b"%05x" % len(text) + text + data[end:]

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:3] + b"\0" + data[4:],
        lambda data: data[:10] + b"XY" + data[12:],
        lambda data: data[:12] + b"zzzzz" + data[17:],
        lambda data: data[:12] + b"-0001" + data[17:],
        lambda data: data[:BEGIN] + b"?" + data[BEGIN + 1 :],
        with_entries(lambda entries: b"\xff" * 16 + entries[16:]),
        with_entries(lambda entries: entries[:17] + b"\xff\xff" + entries[19:]),
        with_entries(lambda entries: entries[:19] + b"\xff" + entries[20:]),
        with_entries(lambda entries: entries[:-1]),
        with_entries(lambda entries: struct.pack("<QQ?", 2**33, BEGIN, False) + entries[17:]),
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda _: b"\x1f\x8b\x08\x10",
    ],
    ids=[
        *("no-comment", "another-comment", "no-length", "negative-length", "no-base64"),
        *("far-away", "long-name", "no-utf-8", "cut-name", "inflates-too-much", "cut", "empty", "short"),
    ],
)
def test_an_index_that_is_not_the_archives_is_none(archive, tmp_path, change):
    pack([("b.nii.gz", archive.parent / "b.nii.gz")], tmp_path / "one.tar.gz")
    (tmp_path / "x.tar.gz").write_bytes(change((tmp_path / "one.tar.gz").read_bytes()))
    with (tmp_path / "x.tar.gz").open("rb") as file:
        assert members_of(file) == []


@pytest.mark.parametrize(
    "inflate",
    [gzip.decompress, igzip.decompress, lambda packed: zlib.decompressobj(31).decompress(packed)],
    ids=["gzip", "isal", "zlib"],
)
def test_other_readers_skip_the_index(archive, inflate):
    with tarfile.open(fileobj=io.BytesIO(inflate(archive.read_bytes()))) as opened:
        assert {member.name: opened.extractfile(member).read() for member in opened} == CONTENTS


def test_a_script_reads_the_archive_while_it_comes(archive):
    with archive.open("rb") as coming, tarfile.open(fileobj=coming, mode="r|gz") as opened:
        assert {member.name: opened.extractfile(member).read() for member in opened} == CONTENTS


def test_gnu_tar_reads_the_archive(archive, tmp_path):
    subprocess.run(["tar", "-xzf", archive, "-C", tmp_path], check=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENTS


def test_an_archive_of_too_many_files_has_no_index_and_is_whole(tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    names = [f"{number:0200d}" for number in range(300)]
    pack([(name, tmp_path / "f") for name in names], tmp_path / "x.tar.gz")
    with (tmp_path / "x.tar.gz").open("rb") as file:
        assert members_of(file) == []
    with tarfile.open(tmp_path / "x.tar.gz") as opened:
        assert opened.getnames() == names
