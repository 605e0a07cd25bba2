import gzip
import hashlib
import io
import os

from tomaat.archives import ArchiveLimits, unpack
from tomaat.client.payload import Payload

LIMITS = ArchiveLimits(largest_upload_bytes=2**30, largest_unpacked_bytes=2**30, most_members=100)
MAIN = b'{"inputs": {}}'


def packed(*files):
    """Pack files, given by name and content."""
    told = []
    payload = Payload("Brain", MAIN, tuple(files))
    buffer = io.BytesIO()
    size = payload.pack(buffer, lambda *done: told.append(done))
    assert size == len(buffer.getvalue())
    return payload, buffer.getvalue(), told


def test_the_servers_strict_reader_takes_what_is_packed(tmp_path):
    for number in (1, 2):
        (tmp_path / f"{number}").write_bytes(bytes([number]) * 3_000_000)
    members = [(f"file-scan/{number:05}.dcm", tmp_path / str(number)) for number in (1, 2)]
    payload, data, told = packed(*members)
    out = tmp_path / "out"
    out.mkdir()
    unpack([data], out, LIMITS)
    assert (out / "main.json").read_bytes() == MAIN
    for name, path in members:
        assert (out / name).read_bytes() == path.read_bytes()
    assert told[-1] == (6_000_000, 6_000_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert payload.digests() == {
        "main.json": hashlib.sha256(MAIN).hexdigest(),
        **{name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in members},
    }


def test_the_same_inputs_give_the_same_bytes_whenever_they_are_packed(tmp_path):
    scan = tmp_path / "scan.nii"
    scan.write_bytes(b"voxels")
    first = packed(("file-scan.nii", scan))[1]
    os.utime(scan, (1, 1))
    scan.chmod(0o600)
    assert packed(("file-scan.nii", scan))[1] == first


def test_what_is_compressed_already_is_not_squeezed_again(tmp_path):
    noise = os.urandom(2_000_000)
    volume = tmp_path / "scan"
    volume.write_bytes(gzip.compress(noise, 1))
    assert len(packed(("file-scan.nii.gz", volume))[1]) > volume.stat().st_size
    volume.write_bytes(bytes(2_000_000))
    assert len(packed(("file-scan.nii", volume))[1]) < 50_000
