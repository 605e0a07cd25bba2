import gzip
import io
import os
import subprocess
import tarfile
import zlib

import pytest

from tomaat.archives import ArchiveLimits, pack, unpack


def test_the_same_files_give_the_same_bytes(tmp_path):
    one = tmp_path / "one.txt"
    one.write_text("1")
    pack([("a.txt", one)], tmp_path / "first")
    one.touch()
    pack([("a.txt", one)], tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    assert (tmp_path / "first").stat().st_mode & 0o777 == 0o600


def test_what_is_packed_comes_out_again(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"abc" * 400_000)
    pack([("ü.bin", big), ("n" * 150, big)], tmp_path / "x.tar.gz")
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        assert archive.getnames() == ["ü.bin", "n" * 150]
        assert {member.uid for member in archive.getmembers()} == {0}
    out = tmp_path / "out"
    out.mkdir()
    limits = ArchiveLimits(largest_upload_bytes=10**7, largest_unpacked_bytes=10**7)
    unpack([(tmp_path / "x.tar.gz").read_bytes()], out, limits)
    assert (out / "ü.bin").read_bytes() == big.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 5 * 1024**2])
def test_what_is_compressed_already_lies_in_the_archive_as_it_is(tmp_path, size):
    """And every reader has the same out of it: a member between two of others, of any length."""
    noise, text = tmp_path / "noise", tmp_path / "text"
    noise.write_bytes(os.urandom(size))
    text.write_bytes(b"the same words, " * 1000)
    pack([("a.json", text), ("b.nii.gz", noise), ("c.png", noise), ("d.json", text)], tmp_path / "x.tar.gz")
    packed = (tmp_path / "x.tar.gz").read_bytes()
    assert noise.read_bytes()[:65_535] in packed
    assert len(packed) < 2 * size + 2 * text.stat().st_size // 5
    whole = zlib.decompressobj(31)
    unpacked = whole.decompress(packed)
    assert whole.eof
    assert not whole.unused_data, "one gzip member, and nothing after it"
    assert gzip.decompress(packed) == unpacked
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        read = {name: archive.extractfile(name).read() for name in archive.getnames()}
    expected = {"a.json": text, "b.nii.gz": noise, "c.png": noise, "d.json": text}
    assert read == {name: path.read_bytes() for name, path in expected.items()}
    subprocess.run(["tar", "xzf", tmp_path / "x.tar.gz", "-C", tmp_path], check=True)
    assert {name: (tmp_path / name).read_bytes() for name in expected} == read
