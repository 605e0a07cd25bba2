"""What is durable, and in which order."""

import hashlib
import os
from pathlib import Path

import pytest

from tomaat.storage import Storage
from tomaat.storage.storage import SMALL_BYTES


@pytest.fixture
def storage(tmp_path):
    made = Storage(tmp_path / "storage")
    made.prepare()
    return made


@pytest.fixture
def calls(monkeypatch):
    """Each flush and each rename, as it happens, by the last parts of its path."""
    made = []
    fsync, rename = os.fsync, Path.rename

    def noting_fsync(descriptor):
        made.append(("flush", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def noting_rename(path, target):
        made.append(("rename", Path(target).name))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "rename", noting_rename)
    return made


def upload(storage):
    folder = storage.new_incoming()
    (folder.inputs / "sub").mkdir()
    for name in ("main.json", "sub/file-scan.nii"):
        (folder.inputs / name).write_text("x")
    return folder


def test_an_upload_is_durable_before_it_moves_and_its_name_is_afterwards(storage, calls):
    folder = upload(storage)
    storage.keep(folder)
    moved = calls.index(("rename", folder.name))
    before, after = calls[:moved], calls[moved + 1 :]
    assert {name for _, name in before} == {"main.json", "file-scan.nii", "sub", "in", folder.name}
    assert before.index(("flush", "main.json")) < before.index(("flush", "in")) < before.index(("flush", folder.name))
    assert after == [("flush", "tickets")]


@pytest.mark.parametrize("result", [b"a result", bytes(SMALL_BYTES + 1)], ids=["small", "large"])
def test_a_result_is_durable_before_it_has_its_name_and_its_name_is_afterwards(storage, calls, result):
    kept = storage.keep(upload(storage))
    out = kept.claim("3")
    out.mkdir(parents=True)
    (out / "result.tar.gz.part").write_bytes(result)
    calls.clear()
    sha256, size = storage.seal_result(out / "result.tar.gz.part")
    assert (sha256, size) == (hashlib.sha256(result).hexdigest(), len(result))
    assert storage.result_of(kept.name, "3").read_bytes() == result
    assert calls == [
        ("flush", "result.tar.gz.part"),
        ("rename", "result.tar.gz"),
        ("flush", "3"),
        ("flush", "out"),
        ("flush", kept.name),
    ]


@pytest.mark.parametrize("result", [b"a result", bytes(SMALL_BYTES + 1)], ids=["small", "large"])
def test_an_error_of_the_flush_fails_the_result_and_gives_it_no_name(storage, monkeypatch, tmp_path, result):
    (tmp_path / "result.tar.gz.part").write_bytes(result)

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        storage.seal_result(tmp_path / "result.tar.gz.part")
    assert not (tmp_path / "result.tar.gz").exists()


def test_an_error_of_a_flush_fails_the_upload(storage, monkeypatch):
    folder = upload(storage)

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        storage.keep(folder)
    assert list(storage.tickets.iterdir()) == []


def test_what_is_written_is_its_owners_alone(storage):
    folder = upload(storage)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.inputs.stat().st_mode & 0o777 == 0o700


def test_what_was_received_is_found_by_its_name_and_durable(storage, calls):
    with storage.receiving() as folder:
        (folder.inputs / "main.json").write_text("x")
    assert (storage.folder_of(folder.name).inputs / "main.json").read_text() == "x"
    assert (
        calls.index(("flush", "main.json")) < calls.index(("rename", folder.name)) < calls.index(("flush", "tickets"))
    )
    assert list(storage.incoming.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_of_what_fails_while_it_is_received_nothing_is_left(storage, error):
    def receive():
        with storage.receiving() as folder:
            (folder.inputs / "main.json").write_text("x")
            raise error

    with pytest.raises(error):
        receive()
    assert [*storage.incoming.iterdir(), *storage.tickets.iterdir()] == []
