import tarfile

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
