import hashlib

import pytest

from tests.stub_server import SUM, result
from tomaat.client import Client, Damaged, Unreachable
from tomaat.client.download import download

SMALL = b"a result of no more than forty bytes"


@pytest.fixture
def fetch(stub, tmp_path, monkeypatch):
    """Download the ticket's result into a folder, byte by byte; give the file and what was told of the bytes."""
    monkeypatch.setattr("tomaat.client.download.CHUNK_BYTES", 1)
    stub.result = SMALL
    told = []

    def fetch(patience_seconds=60.0):
        http = Client(stub.url, patience_seconds=patience_seconds).http
        file = download(http, "/result/1", "secret1", tmp_path, lambda *done: told.append(done))
        return file, told

    return fetch


def ranges(stub):
    return [headers.get("Range") for headers in stub.asked("GET", "/result")]


@pytest.mark.parametrize("offset", range(1, len(SMALL)))
def test_a_download_that_broke_goes_on_where_it_broke(stub, fetch, offset):
    stub.faults = [("GET", "cut", offset)]
    file, told = fetch()
    assert file.read_bytes() == SMALL
    assert ranges(stub) == [None, f"bytes={offset}-"]
    assert told == [(done, len(SMALL)) for done in range(1, len(SMALL) + 1)]
    assert stub.asked("GET", "/result")[1]["If-Range"] == f'"{hashlib.sha256(SMALL).hexdigest()}"'


def test_a_download_that_breaks_at_every_byte_is_complete_in_the_end(stub, fetch):
    stub.faults = [("GET", "cut", 1)] * len(SMALL)
    assert fetch()[0].read_bytes() == SMALL
    assert len(ranges(stub)) == len(SMALL)


def test_another_process_goes_on_with_what_is_there(stub, fetch):
    stub.faults = [("GET", "cut", 9), ("GET", 503)]
    with pytest.raises(Unreachable):
        fetch(patience_seconds=0)
    assert fetch()[0].read_bytes() == SMALL
    assert ranges(stub)[-1] == "bytes=9-"


def test_no_byte_at_all_ends_patience(stub, fetch, monkeypatch):
    monkeypatch.setattr("tomaat.client.patience.FIRST_PAUSE_SECONDS", 0.01)
    stub.faults = [("GET", "cut", 0)] * 50
    with pytest.raises(Unreachable, match="The download broke"):
        fetch(patience_seconds=0.1)
    assert 2 < len(ranges(stub)) < 20


def test_a_server_without_ranges_sends_all_of_it_again(stub, fetch):
    stub.ranges = False
    stub.faults = [("GET", "cut", 9)]
    assert fetch()[0].read_bytes() == SMALL


def test_a_result_that_is_another_one_now_is_fetched_from_its_beginning(stub, fetch, tmp_path):
    for content in (b"older", b"oldest"):
        (tmp_path / f".tomaat-{hashlib.sha256(content).hexdigest()}.part").write_bytes(content[:3])
    file, _ = fetch()
    assert file.read_bytes() == SMALL
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_damaged_once_is_fetched_again_and_twice_is_refused(stub, fetch, tmp_path):
    stub.faults = [("GET", "flip")]
    assert fetch()[0].read_bytes() == SMALL
    fetch()[0].unlink()
    stub.faults = [("GET", "flip")] * 2
    with pytest.raises(Damaged, match="SHA-256"):
        fetch()
    assert list(tmp_path.iterdir()) == []


def test_what_goes_on_behind_damaged_bytes_is_noticed(stub, fetch):
    stub.faults = [("GET", "cut", 5)]
    file, _ = fetch()
    file.write_bytes(b"other" + SMALL[5:9])
    assert fetch()[0].read_bytes() == SMALL


def test_nothing_of_a_damaged_result_reaches_the_folder(stub, tmp_path):
    stub.result = result(SUM)
    stub.faults = [("GET", "flip")] * 2
    with pytest.raises(Damaged):
        Client(stub.url).ticket(1, "secret1").fetch(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_complete_file_of_an_earlier_process_is_not_fetched_again(stub, fetch):
    fetch()
    assert fetch()[0].read_bytes() == SMALL
    assert ranges(stub) == [None, f"bytes={len(SMALL)}-"]
