import io
import os
import random
import subprocess
import sys
import tarfile
import tracemalloc
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile_archives import GOOD, HOSTILE, _bomb, member, packed, pax
from tests.needs import need
from tomaat.archives import ArchiveLimits, ArchiveRefused, ArchiveTooLarge, NotGzip, unpack

MIB = 1024**2
LIMITS = ArchiveLimits(largest_upload_bytes=64 * MIB, largest_unpacked_bytes=256 * MIB, largest_ratio=200)


def chunks(data: bytes, size: int = 10_000):
    return (data[start : start + size] for start in range(0, len(data), size))


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [7, 10_000])
def test_a_hostile_archive_is_refused_and_leaves_nothing(name, size, tmp_path):
    make, code = HOSTILE[name]
    data = make()
    if size == 7 and len(data) > 20_000:
        size = 1000
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(ArchiveRefused) as refusal:
        unpack(chunks(data, size), folder, LIMITS)
    assert refusal.value.code == code
    assert refusal.value.detail.endswith(".")
    assert list(tmp_path.rglob("*")) == [folder]
    assert isinstance(refusal.value, NotGzip) == (code == "not-gzip")
    assert isinstance(refusal.value, ArchiveTooLarge) == (code in {"ratio", "too-many-members"})


def test_there_are_enough_hostile_archives():
    assert len(HOSTILE) >= 150


def test_limits_count_what_comes_out_and_what_comes_in(tmp_path):
    small = ArchiveLimits(largest_upload_bytes=1000, largest_unpacked_bytes=4000)
    with pytest.raises(ArchiveTooLarge, match="larger than 4000 bytes when unpacked"):
        unpack([packed(member(b"a", bytes(5000)))], tmp_path, small)
    with pytest.raises(ArchiveTooLarge, match="larger than 1000 bytes"):
        unpack([packed(member(b"a", random.Random(1).randbytes(2000)))], tmp_path, small)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_large_member_takes_no_memory(tmp_path):
    data = _bomb(128 * MIB)
    limits = ArchiveLimits(largest_upload_bytes=MIB, largest_unpacked_bytes=256 * MIB, largest_ratio=1e6)
    tracemalloc.start()
    unpack(chunks(data), tmp_path, limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "bomb").stat().st_size == 128 * MIB
    assert peak < 4 * MIB


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_packs_is_taken(tar_format, tmp_path):
    out = io.BytesIO()
    names = ["main.json", "./file-a.nii.gz", "n" * 90 + "/" + "m" * 60, "ünïcode"]
    with tarfile.open(fileobj=out, mode="w:gz", format=tar_format) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 700, 1234567890.5
            archive.addfile(info, io.BytesIO(b"z" * 700))
    unpack(chunks(out.getvalue()), tmp_path, LIMITS)
    assert files_in(tmp_path) == {name.removeprefix("./"): b"z" * 700 for name in names}


def test_files_are_for_the_owner_only(tmp_path):
    unpack([packed(member(b"d/a", b"x"))], tmp_path, LIMITS)
    assert (tmp_path / "d/a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700


def test_what_macos_adds_is_not_written(tmp_path):
    companion = member(b"./._main.json", b"Mac OS X")
    times = pax((b"mtime", b"1.5"), (b"LIBARCHIVE.xattr.com.apple.x", b"y"), (b"SCHILY.fflags", b"z"))
    unpack([packed(member(b"./", kind=b"5"), companion, times, GOOD)], tmp_path, LIMITS)
    assert files_in(tmp_path) == {"main.json": b"{}"}


LONG = "x" * 200
LINKS = {
    "symbolic": (member(b"file-scan/latest.lnk", kind=b"2", link=b"IM1"), "latest.lnk"),
    "hard": (member(b"file-scan/deep/copy.txt", kind=b"1", link=b"file-scan/IM1"), "deep/copy.txt"),
    "out of the folder": (member(b"file-scan/x.html", kind=b"2", link=b"/etc/passwd"), "x.html"),
    "with a long target": (
        member(b"././@LongLink", b"/" * 300 + b"\0", b"K") + member(b"file-scan/x.html", kind=b"2"),
        "x.html",
    ),
    "with a long target as PAX has it": (
        pax((b"linkpath", b"/" * 300)) + member(b"file-scan/x.html", kind=b"2"),
        "x.html",
    ),
    "with a long name": (
        pax((b"path", b"file-scan/" + LONG.encode() + b".txt")) + member(b"y", kind=b"2", link=b"IM1"),
        LONG[:100],
    ),
}


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_among_images_is_left_out_and_told_and_never_made(kind, tmp_path):
    data, name = LINKS[kind]
    left_out = unpack([packed(GOOD, member(b"file-scan/IM1", b"x"), data)], tmp_path, LIMITS)
    assert left_out == {"file-scan": [name]}
    assert files_in(tmp_path) == {"main.json": b"{}", "file-scan/IM1": b"x"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    "data",
    [
        member(b"file-scan.nii", kind=b"2", link=b"/etc/passwd"),
        member(b"file-scan", kind=b"2", link=b"/etc"),
        member(b"scan/x", kind=b"1", link=b"main.json"),
        member(b"file-scan/x", b"content", kind=b"1", link=b"main.json"),
        member(b"././@LongLink", b"/x\0", b"K") + member(b"file-scan/x", b"y"),
        pax((b"linkpath", b"/x")) + member(b"file-scan/x", b"y"),
    ],
)
def test_any_other_link_refuses_the_archive(data, tmp_path):
    with pytest.raises(ArchiveRefused, match="only files and folders are taken"):
        unpack([packed(GOOD, data)], tmp_path, LIMITS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "image"),
    [
        *[("IM2", "IM1"), ("deep/1.2.840.3", "1.2.840.1"), ("series", "IM1")],
        *[(name, "IM1.v2") for name in ("2.dcm", "2.IMA", "2.v2", "2.part")],
    ],
)
@pytest.mark.parametrize("kind", [b"1", b"2"])
def test_a_link_that_may_stand_for_an_image_refuses_the_archive(name, image, kind, tmp_path):
    """The image whose extension it shares may follow it."""
    data = member(f"file-scan/{name}".encode(), kind=kind, link=b"x"), member(f"file-scan/{image}".encode(), b"x")
    with pytest.raises(ArchiveRefused, match=f"^'{name}' in file-scan is a link, and may stand for an image .tar -h"):
        unpack([packed(GOOD, *data)], tmp_path, LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_what_tar_itself_links_is_left_out(tmp_path):
    (tmp_path / "file-scan").mkdir()
    (tmp_path / "file-scan" / "a").write_bytes(b"x")
    os.link(tmp_path / "file-scan" / "a", tmp_path / "file-scan" / "b.txt")
    (tmp_path / "file-scan" / "c.lnk").symlink_to("z" * 200)
    names = ["file-scan/a", "file-scan/b.txt", "file-scan/c.lnk"]
    run = subprocess.run(["tar", "czf", "-", *names], cwd=tmp_path, capture_output=True, check=True)
    (tmp_path / "out").mkdir()
    left_out = unpack([run.stdout], tmp_path / "out", LIMITS)
    assert len(left_out["file-scan"]) == 2
    assert len(files_in(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        (b"file-scan/IM1", "IM1"),
        (b"file-scan/deep/IM1", "000002 deep_IM1"),
        (b"file-scan/" + b"d/" * 20 + b"IM1", "000002 " + "d_" * 20 + "IM1"),
        (b"/file-scan/../../IM1", "000002 .._.._IM1"),
        (b"file-scan\\a\\IM1", "000002 a_IM1"),
        ("file-scan/zero\u200dwidth".encode(), "000002 zero_width"),
        (b"file-scan/\xff\x1b[2J", "000002 _2J"),
        (b"file-scan/main.json", "main.json"),
    ],
)
def test_the_name_of_an_image_refuses_nothing_and_leads_nowhere(name, kept, tmp_path):
    unpack([packed(GOOD, member(name, b"x"))], tmp_path, LIMITS)
    assert files_in(tmp_path) == {"main.json": b"{}", f"file-scan/{kept}": b"x"}


def test_two_images_of_one_name_are_two_images(tmp_path):
    unpack([packed(member(b"file-scan/a"), member(b"file-scan/A"), member(b"file-scan/a"))], tmp_path, LIMITS)
    assert sorted(path.name for path in (tmp_path / "file-scan").iterdir()) == ["000002 A", "000003 a", "a"]


@pytest.mark.parametrize(
    "name", [b".DS_Store", b"file-scan/Thumbs.db", b"__MACOSX/x", b"file-scan/a/.ds_store", b"DICOMDIR"]
)
def test_what_systems_put_beside_files_is_not_written(name, tmp_path):
    unpack([packed(GOOD, member(name, b"x"), member(name, b"y"))], tmp_path, LIMITS)
    assert files_in(tmp_path) == {"main.json": b"{}"}


def test_an_empty_mask_that_packs_as_well_as_can_be_is_no_bomb(tmp_path):
    limits = ArchiveLimits(largest_upload_bytes=MIB, largest_unpacked_bytes=64 * MIB)
    unpack([_bomb(40 * MIB)], tmp_path, limits)
    assert (tmp_path / "bomb").stat().st_size == 40 * MIB


@pytest.mark.parametrize("tar_format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_what_gnu_tar_packs_is_taken(tar_format, tmp_path):
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    target.mkdir()
    (source / "main.json").write_bytes(b"{}")
    (source / "file-a.mha").write_bytes(b"q" * 100_000)
    run = subprocess.run(
        ["tar", f"--format={tar_format}", "-czf", "-", "."], cwd=source, capture_output=True, check=True
    )
    unpack(chunks(run.stdout), target, LIMITS)
    assert files_in(target) == files_in(source)


def test_what_bsdtar_packs_is_taken(tmp_path):
    need("bsdtar")
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    target.mkdir()
    (source / "main.json").write_bytes(b"{}")
    (source / ("ü" * 80)).write_bytes(b"long")
    subprocess.run(["bsdtar", "-czf", "../packed", "."], cwd=source, check=True)
    unpack(chunks((tmp_path / "packed").read_bytes()), target, LIMITS)
    assert files_in(target) == files_in(source)


member_names = (
    st.text("abcßé./", min_size=1, max_size=12)
    .filter(lambda name: name.split("/")[-1] not in {"", "."})
    .map(str.encode)
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(member_names, st.binary(max_size=1500)), max_size=5))
def test_what_is_taken_python_and_gnu_tar_unpack_to_the_same(tmp_path_factory, members):
    data = packed(*(member(name, content) for name, content in members))
    ours, theirs, gnus = (tmp_path_factory.mktemp("out") for _ in range(3))
    try:
        unpack(chunks(data, 100), ours, LIMITS)
    except ArchiveRefused:
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for each in archive:
            if each.isfile():
                path = theirs / each.name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(each).read())
    subprocess.run(["tar", "-xzf", "-"], input=data, cwd=gnus, check=True, capture_output=True)
    kept = {name: content for name, content in files_in(gnus).items() if not name.split("/")[-1].startswith("._")}
    assert files_in(ours) == kept
    assert kept.keys() <= files_in(theirs).keys()


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_flipped_bytes_never_escape_and_never_crash(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    tar = bytearray(GOOD + pax((b"path", b"d/e")) + member(b"b", b"y" * 600) + bytes(1024))
    for _ in range(data.draw(st.integers(1, 4))):
        tar[data.draw(st.integers(0, len(tar) - 1))] = data.draw(st.integers(0, 255))
    inside = folder / "in"
    inside.mkdir()
    packer = zlib.compressobj(wbits=31)
    try:
        unpack([packer.compress(bytes(tar)) + packer.flush()], inside, LIMITS)
    except ArchiveRefused:
        assert list(inside.iterdir()) == []
    assert list(folder.iterdir()) == [inside]


def test_a_full_disk_passes_as_the_error_that_it_is_and_leaves_nothing(tmp_path):
    program = (
        "import resource, sys, signal; from pathlib import Path; from tomaat.archives import *;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "limits = ArchiveLimits(largest_upload_bytes=10**6, largest_unpacked_bytes=10**6);"
        "folder = Path(sys.argv[1])\n"
        "try: unpack([sys.stdin.buffer.read()], folder, limits)\n"
        "except OSError as error: print(type(error).__name__, list(folder.iterdir()))"
    )
    data = packed(member(b"a", b"1" * 100), member(b"b", b"x" * 10_000))
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], input=data, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "OSError []"
