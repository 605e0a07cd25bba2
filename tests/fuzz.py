"""Mutate archives and images, and read them: ``python3 -m tests.fuzz 1000000``; the tests do a few thousand.

Whatever comes out of it is read or refused: no other error, nothing outside of the folder, nothing left of a refusal.
The archive reader gets a mutated tar in good gzip and mutated gzip, the zip reader mutated zips; the header checks get
mutated files.
"""

import gzip
import random
import shutil
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests import hostile_archives, hostile_images
from tomaat.archives import ArchiveLimits, ArchiveRefused, unpack, unzip_dicom
from tomaat.headers import VolumeRefused, read_header

LIMITS = ArchiveLimits(largest_upload_bytes=10**7, largest_unpacked_bytes=10**7, most_members=50, largest_ratio=1000)
LARGEST = 60_000  #: bytes of an archive that is mutated: larger ones only cost time
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of its own in it; the disk would only cost time)
WORDS = (
    *(
        b"\0",
        b"\xff",
        b"../",
        b"/",
        b"\n",
        b"=",
        b"0",
        b"7",
        b"9" * 11,
        b"x",
        b"L",
        b"1",
        b"2",
        b"-1",
        b"NaN",
        b"1e400",
    ),
    *(b"ElementDataFile = ", b"data file: ", b"LOCAL", b"gzip", b"raw", b"inf", b"ustar\x0000", b"\x80" * 8),
)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change a few places: bits, words, pieces that go, come twice, or change places."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(made) + 1)
        length = chance.choice((1, 1, 2, 4, 16, 512))
        how = chance.randrange(6)
        if how == 0 and place < len(made):
            made[place] ^= 1 << chance.randrange(8)
        elif how == 1:
            word = chance.choice(WORDS)
            made[place : place + len(word)] = word
        elif how == 2:
            made[place:place] = chance.choice(WORDS)
        elif how == 3:
            del made[place : place + length]
        elif how == 4:
            made[place:place] = made[place : place + length]
        else:
            other = chance.randrange(len(made) + 1)
            made[place : place + length] = made[other : other + length]
    return bytes(made)


def resummed(tar: bytes) -> bytes:
    """Mend the checksum of each block that was a header, so that a mutation comes further than that."""
    made = bytearray(tar)
    for start in range(0, len(made) - 511, 512):
        block = made[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            made[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(made)


def good_seeds() -> list[bytes]:
    """Tars that are taken."""
    good, member, pax = hostile_archives.GOOD, hostile_archives.member, hostile_archives.pax
    file = member(b"file-scan.nii", b"voxels" * 400)
    return [
        gzip.decompress(hostile_archives.packed(*parts))
        for parts in (
            (good,),
            (good, file),
            (member(b"folder/", kind=b"5"), member(b"folder/a", b"x"), good),
            (pax((b"path", b"folder/b"), (b"mtime", b"1.5")), file, good),
            (member(b"l", b"folder/" + b"n" * 120 + b"\0", b"L"), file, good),
        )
    ]


def hostile_seeds() -> list[bytes]:
    """Tars that are refused."""
    made = []
    for make, _ in hostile_archives.HOSTILE.values():
        data = make()
        if len(data) <= LARGEST:
            try:
                tar = gzip.decompress(data)
            except (OSError, EOFError, ValueError, zlib.error):
                continue
            if len(tar) <= LARGEST:
                made.append(tar)
    return made


def fuzz_archives(count: int, seed: int) -> Counter[str]:
    """Mutate and unpack; count the codes."""
    chance = random.Random(seed)
    seeds = good_seeds(), hostile_seeds()
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        outside = Path(name)
        folder = outside / "in"
        for _ in range(count):
            tar = mutated(chance.choice(chance.choice(seeds)), chance)
            data = gzip.compress(resummed(tar) if chance.random() < 0.7 else tar, 1)
            if chance.random() < 0.2:
                data = mutated(data, chance)
            folder.mkdir(exist_ok=True)
            try:
                unpack([data], folder, LIMITS)
                told["taken"] += 1
            except ArchiveRefused as refusal:
                told[refusal.code] += 1
                assert list(folder.iterdir()) == [], "a refusal leaves nothing"
            assert [path.name for path in outside.iterdir()] == ["in"], "nothing leaves the folder"
            assert not any(path.is_symlink() for path in folder.rglob("*"))
            if any(folder.iterdir()):
                shutil.rmtree(folder)
    return told


def fuzz_zips(count: int, seed: int) -> Counter[str]:
    """Mutate zip archives and take them apart; count the codes."""
    chance = random.Random(seed)
    members = {"a": hostile_archives.DICOM_IMAGE, "b/c.dcm": hostile_archives.DICOM_IMAGE, "DICOMDIR": b"text"}
    good = [hostile_archives.zip_packed(members), hostile_archives.zip_packed(members, zipfile.ZIP_STORED)]
    bad = [data for data, _ in hostile_archives.HOSTILE_ZIPS.values() if len(data) <= LARGEST]
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        outside = Path(name)
        folder = outside / "in"
        for _ in range(count):
            (outside / "a.zip").write_bytes(mutated(chance.choice(chance.choice((good, bad))), chance))
            folder.mkdir()
            try:
                unzip_dicom(outside / "a.zip", folder, LIMITS)
                told["taken"] += 1
                assert all(path.name.endswith(".dcm") and path.is_file() for path in folder.iterdir())
            except ArchiveRefused as refusal:
                told[refusal.code] += 1
                assert list(folder.iterdir()) == [], "a refusal leaves nothing"
            assert {path.name for path in outside.iterdir()} == {"in", "a.zip"}, "nothing leaves the folder"
            shutil.rmtree(folder)
    return told


def fuzz_headers(count: int, seed: int) -> Counter[str]:
    """Mutate image files and check their headers; count the codes."""
    chance = random.Random(seed)
    seeds = [(name, data) for name, data, _ in hostile_images.HOSTILE.values() if len(data) <= LARGEST]
    seeds += [("x.mha", hostile_images.mha()), ("x.nrrd", hostile_images.nrrd()), ("x.nii", hostile_images.nifti_2())]
    seeds += [("x.nii", hostile_images.nifti(codes=codes)) for codes in ((0, 1), (1, 0), (1, 1))]
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        for _ in range(count):
            file_name, data = chance.choice(seeds)
            if file_name.endswith(".nii.gz") and chance.random() < 0.7:
                try:
                    data = gzip.compress(mutated(gzip.decompress(data), chance), 1)
                except (OSError, EOFError, ValueError, zlib.error):
                    data = mutated(data, chance)
            else:
                data = mutated(data, chance)
            path = Path(name) / file_name
            path.write_bytes(data)
            try:
                header = read_header(path, largest_voxel_bytes=10**6)
                code, words = "taken", ""
                assert 0 < header.value_bytes <= 10**6
            except VolumeRefused as refusal:
                code, words = refusal.code, refusal.detail
            told[code] += 1
            assert len(words) < 400, words
            assert words.isprintable(), words
            path.unlink()
    return told


def main() -> None:
    """Fuzz all three, a third of the count each."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    runs: tuple[Callable[[int, int], Counter[str]], ...] = (fuzz_archives, fuzz_zips, fuzz_headers)
    for run in runs:
        began = time.monotonic()
        told = run(count // 3, seed)
        counted = ", ".join(f"{code} {number}" for code, number in told.most_common())
        print(f"{run.__name__}: {count // 3} mutations in {time.monotonic() - began:.0f} s: {counted}", flush=True)


if __name__ == "__main__":
    main()
