import shutil
from types import SimpleNamespace

import structlog

from tomaat.scheduling.room import Room
from tomaat.storage.disk import LEAST_ROOM_BYTES


def test_after_a_result_that_did_not_fit_nothing_is_claimed_until_there_is_room_for_two_such(tmp_path, monkeypatch):
    free = {"bytes": 0}
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free["bytes"]))
    room = Room(tmp_path, structlog.get_logger())
    assert room.is_there(), "as far as is known"
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/result").open("wb") as file:
        file.truncate(LEAST_ROOM_BYTES)
    room.lacks(42, tmp_path / "out")
    for free["bytes"], there in (
        (0, False),
        (2 * LEAST_ROOM_BYTES - 1, False),
        (2 * LEAST_ROOM_BYTES, True),
        (0, True),
    ):
        assert room.is_there() == there
