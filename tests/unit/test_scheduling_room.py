import shutil
from types import SimpleNamespace

import structlog

from tomaat.scheduling.room import Room
from tomaat.storage.disk import LEAST_ROOM_BYTES


def test_after_a_result_that_did_not_fit_nothing_is_claimed_until_there_is_room_for_two_such(tmp_path, monkeypatch):
    free = {"bytes": 0}
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free["bytes"], total=2**40))
    room = Room(tmp_path, structlog.get_logger())
    assert room.is_there(), "as far as is known"
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/result").open("wb") as file:
        file.truncate(LEAST_ROOM_BYTES)
    assert room.may_come(42, tmp_path / "out")
    for free["bytes"], there in (
        (0, False),
        (2 * LEAST_ROOM_BYTES - 1, False),
        (2 * LEAST_ROOM_BYTES, True),
        (0, True),
    ):
        assert room.is_there() == there


def test_a_result_that_does_not_fit_into_a_tenth_of_the_disk_is_not_waited_for(tmp_path, monkeypatch):
    disk = SimpleNamespace(free=0, total=100 * LEAST_ROOM_BYTES)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: disk)
    room = Room(tmp_path, structlog.get_logger())
    with (tmp_path / "result").open("wb") as file:
        file.truncate(10 * LEAST_ROOM_BYTES)
        assert room.may_come(42, tmp_path)
        file.truncate(10 * LEAST_ROOM_BYTES + 4096)
        assert not room.may_come(42, tmp_path)
        file.truncate(0)  # as where a file's whole length is asked for first
        disk.free = 11 * LEAST_ROOM_BYTES
        assert not room.may_come(42, tmp_path)
    assert room.is_there(), "for others"
