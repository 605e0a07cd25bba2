import errno
import shutil
from typing import NamedTuple

import pytest
import structlog

from tests.unit.fake_store import Web


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


def failing(web):
    answer = web.client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Retry-After"]
    return {error["code"]: error["detail"] for error in answer.get_json()["errors"]}


def test_a_whole_service_is_ready(web):
    answer = web.client.get("/health/ready")
    assert (answer.status_code, answer.get_json()) == (200, {"ready": True})
    assert list(web.storage.temporary.iterdir()) == []


def test_a_live_process_needs_no_database(web):
    web.store.down = True
    answer = web.client.get("/health/live")
    assert (answer.status_code, answer.get_json()) == (200, {"live": True})


def test_without_a_database_it_is_not_ready_and_says_no_more_than_that(web):
    web.store.down = True
    assert failing(web) == {"database": "The database does not answer."}


def test_without_a_manager_it_is_not_ready(web):
    web.watch.manager = False
    assert list(failing(web)) == ["manager"]


def test_while_nothing_is_offered_it_is_not_ready(web):
    web.watch.offering = False
    assert list(failing(web)) == ["services"]
    web.watch.manager = False
    web.health.failing.known = None
    assert list(failing(web)) == ["manager", "services"]


def test_a_storage_that_cannot_be_written_is_told(web):
    shutil.rmtree(web.storage.temporary)
    assert failing(web) == {"storage": "The storage cannot be written."}


def test_a_storage_without_room_is_told(web, monkeypatch):
    monkeypatch.setattr("tomaat.web.watch.health.shutil.disk_usage", lambda _: Usage(10**12, 10**12 - 1000, 1000))
    assert failing(web) == {"storage": "The storage has less than 64 MiB left."}


def test_a_storage_whose_disk_refuses_to_flush_is_told(web, monkeypatch):
    def refuse(_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("tomaat.web.watch.health.os.fsync", refuse)
    assert list(failing(web)) == ["storage"]


def test_every_failing_part_is_named_at_once(web):
    web.watch.manager = False
    shutil.rmtree(web.storage.temporary)
    assert list(failing(web)) == ["manager", "storage"]


def test_probes_are_no_lines_of_the_log_but_a_change_is_one(web):
    with structlog.testing.capture_logs() as lines:
        for manager in (True, True, False, False, True):
            web.watch.manager = manager
            web.client.get("/health/ready")
            web.client.get("/health/live")
    told = [line for line in lines if line["log_level"] != "debug"]
    assert [(line["event"], line["failing"]) for line in told] == [
        ("health.changed", ["manager"]),
        ("health.changed", []),
    ]


def test_no_key_is_needed(tmp_path):
    web = Web(tmp_path, keys_needed=True)
    assert web.client.get("/health/ready").status_code == 200
    web.close()
