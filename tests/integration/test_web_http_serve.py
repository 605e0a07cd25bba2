"""The web side behind the real server, over real sockets; the database is a stand-in."""

import contextlib
import errno
import io
import os
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests
import structlog
import waitress.buffers
import waitress.receiver

from tests.unit.fake_store import GOOD, MIB
from tests.web_server import problem_in, read_all, until
from tomaat.archives import ArchiveLimits, pack
from tomaat.tickets.states import SUCCEEDED
from tomaat.web.api.waiters import FETCHED_SECONDS
from tomaat.web.http.connection import Connection
from tomaat.web.http.problems import Problem
from tomaat.web.http.serve import PortBusy

LARGE = ArchiveLimits(largest_upload_bytes=300 * MIB, largest_unpacked_bytes=400 * MIB)


def open_files():
    """The names of this process's open files, deleted ones included."""
    names = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(str(path.readlink()))
    return names


def test_a_ticket_goes_its_way_over_sockets(start):
    web = start()
    ticket = web.send().json()
    web.succeed(ticket, b"a result")
    assert web.get(ticket["links"]["status"]).json()["state"] == SUCCEEDED
    answer = web.get(ticket["links"]["result"])
    assert (answer.content, answer.headers["Content-Length"]) == (b"a result", "8")
    until(lambda: web.store.fetched == [ticket["id"]])


@pytest.mark.parametrize(
    ("how", "body", "fetched"),
    [
        ({"headers": {"Range": "bytes=0-999999"}}, 1_000_000, False),
        ({"headers": {"Range": "bytes=4000000-"}}, 1_000_000, False),
        ({"headers": {"Range": "bytes=-1"}}, 1, False),
        ({"headers": {"Range": "bytes=1-"}}, 4_999_999, False),
        ({"headers": {"Range": "bytes=0-"}}, 5_000_000, True),
        ({"headers": {"Range": "bytes=0-1,4-5"}}, 5_000_000, True),
        ({"headers": {"If-None-Match": "*"}}, 0, False),
    ],
)
def test_fetched_means_that_all_bytes_were_sent(start, how, body, fetched):
    web = start()
    content = os.urandom(5_000_000)
    ticket = web.send().json()
    web.succeed(ticket, content)
    answer = web.get(ticket["links"]["result"], **how)
    assert len(answer.content) == body
    assert answer.content in content
    requests.head(web.url + ticket["links"]["result"], timeout=10)
    time.sleep(FETCHED_SECONDS + 0.5)
    assert web.store.fetched == [ticket["id"]] * fetched


def test_a_download_that_goes_on_where_it_broke_is_fetched_when_all_of_it_was_sent(start):
    web = start()
    ticket = web.send().json()
    web.succeed(ticket, bytes(30 * MIB))
    with web.connect(receive_bytes=4096) as connection:
        connection.sendall(f"GET {ticket['links']['result']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1000)
    until(lambda: ticket["id"] in web.api.sent_spans.spans)
    (span,) = web.api.sent_spans.spans[ticket["id"]]
    for wanted in ("bytes=-1", f"bytes={span[1] // 2}-{25 * MIB}", f"bytes={20 * MIB}-{30 * MIB - 2}"):
        assert web.store.fetched == []
        assert web.get(ticket["links"]["result"], headers={"Range": wanted}).status_code == 206
    until(lambda: web.store.fetched == [ticket["id"]])


def test_single_files_are_sent_whole_and_by_ranges_and_are_closed(start, tmp_path):
    web = start()
    ticket = web.send().json()
    files = {
        "curve.npy": b"".join(n.to_bytes(4, "little") for n in range(500_000)),
        "noise.nii.gz": os.urandom(2 * MIB),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    pack([(name, tmp_path / name) for name in files], tmp_path / "x.tar.gz")
    web.succeed(ticket, (tmp_path / "x.tar.gz").read_bytes())
    for name, content in files.items():
        path = f"{ticket['links']['result']}/{name}"
        assert web.get(path).content == content
        part = web.get(path, headers={"Range": "bytes=70001-1200000"})
        assert (part.status_code, part.content) == (206, content[70001:1200001])
        connection = web.connect(receive_bytes=4096)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1000)
        connection.close()
    until(lambda: not [name for name in open_files() if name.endswith("result.tar.gz")])
    assert web.store.fetched == []


def test_a_broken_off_download_is_not_fetched_and_its_file_is_closed(start):
    web = start()
    ticket = web.send().json()
    web.succeed(ticket, bytes(30 * MIB))
    before = psutil.Process().num_fds()
    with web.connect(receive_bytes=4096) as connection:
        connection.sendall(f"GET {ticket['links']['result']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1000)
    until(lambda: psutil.Process().num_fds() <= before)
    assert web.store.fetched == []


def test_slow_downloads_hold_no_thread(start):
    web = start(threads=4)
    ticket = web.send().json()
    web.succeed(ticket, bytes(30 * MIB))
    slow = [web.connect(receive_bytes=4096) for _ in range(64)]
    for connection in slow:
        connection.sendall(f"GET {ticket['links']['result']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for connection in slow:
        connection.recv(100)
    began = time.monotonic()
    assert web.send().status_code == 202
    assert time.monotonic() - began < 5
    for connection in slow:
        connection.close()


def test_pipelined_requests_hold_no_thread_behind_a_slow_download(start):
    web = start(threads=4)
    ticket = web.send().json()
    web.succeed(ticket, bytes(30 * MIB))
    slow = [web.connect(receive_bytes=4096) for _ in range(8)]
    for connection in slow:
        connection.sendall(f"GET {ticket['links']['result']} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 2)
    for connection in slow:
        head = connection.recv(500)
        assert b"Connection: close" in head
    began = time.monotonic()
    assert web.send().status_code == 202
    assert time.monotonic() - began < 5
    for connection in slow:
        connection.close()


def test_however_many_wait_a_submit_is_answered(start):
    web = start(threads=4)
    ticket = web.send().json()
    answers = []
    waiting = [
        threading.Thread(target=lambda: answers.append(web.get(ticket["links"]["status"] + "?wait=20")), daemon=True)
        for _ in range(30)
    ]
    for thread in waiting:
        thread.start()
    until(lambda: len(answers) == 28)  # two wait, the others are told to come again
    assert all(answer.headers["Retry-After"] == "1" for answer in answers)
    began = time.monotonic()
    assert web.send().status_code == 202
    assert time.monotonic() - began < 2
    web.succeed(ticket)
    for thread in waiting:
        thread.join(5)
    assert sorted(answer.json()["state"] for answer in answers)[-3:] == ["submitted", "succeeded", "succeeded"]


def test_slow_uploads_hold_no_thread(start):
    web = start(threads=4)
    slow = [web.connect() for _ in range(64)]
    for connection in slow:
        connection.sendall(b"POST /request HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n--")
    assert web.send().status_code == 202
    for connection in slow:
        connection.close()


def test_a_large_upload_costs_no_memory(start):
    """The real server and the client share this process, so the client streams too."""
    web = start(limits=LARGE)
    size = 256 * MIB
    head = b'--b\r\nContent-Disposition: form-data; name="payload"; filename="p"\r\n\r\n\x1f\x8b\x08' + bytes(7)
    before = psutil.Process().memory_info().rss
    highest = 0
    with web.connect() as connection:
        connection.sendall(
            f"POST /request HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            f"Content-Length: {len(head) + size}\r\n\r\n".encode()
        )
        connection.sendall(head)
        for _ in range(size // MIB):
            connection.sendall(bytes(MIB))
            highest = max(highest, psutil.Process().memory_info().rss)
        status = connection.recv(1000)
        highest = max(highest, psutil.Process().memory_info().rss)
    assert status.startswith(b"HTTP/1.1 400")
    assert highest - before < 40 * MIB
    assert web.uploads_left() == []


def test_large_bodies_are_spooled_below_the_storage_folder(start):
    web = start()
    with web.connect() as connection:
        connection.sendall(b"POST /request HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + bytes(2_000_000))
        until(lambda: any(str(web.storage.temporary) in name for name in open_files()))
    until(lambda: not any(str(web.storage.temporary) in name for name in open_files()))


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_request_that_claims_too_much_is_refused_at_once_and_reads_why(start, expect):
    web = start()
    claimed = web.api.largest_request_bytes + 1
    with web.connect() as connection:
        connection.sendall(f"POST /request HTTP/1.1\r\nHost: x\r\n{expect}Content-Length: {claimed}\r\n\r\n".encode())
        status, problem = problem_in(read_all(connection))
    assert (status, problem["type"], problem["status"]) == (413, "/problems/too-large", 413)
    assert str(web.api.largest_request_bytes) in problem["detail"]


def test_a_client_that_goes_on_sending_too_much_still_reads_why(start):
    web = start()
    answer = web.send(payload=bytes(20 * MIB))
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/too-large"
    assert web.send().status_code == 202


def test_a_chunked_upload_beyond_the_limit_is_refused(start):
    web = start()
    answer = requests.post(f"{web.url}/request", data=(bytes(MIB) for _ in range(20)), timeout=30)
    assert answer.status_code == 413
    assert answer.json()["type"] == "/problems/too-large"


def test_a_chunked_upload_is_taken(start):
    web = start()
    form = requests.Request(
        "POST", web.url, data={"service": "FloatComputation"}, files={"payload": ("p", GOOD)}
    ).prepare()
    body = io.BytesIO(form.body)
    answer = requests.post(
        f"{web.url}/request",
        data=iter(lambda: body.read(50), b""),
        headers={"Content-Type": form.headers["Content-Type"]},
        timeout=30,
    )
    assert answer.status_code == 202


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_request_can_be_refused_before_a_byte_of_its_body_is_kept(start, monkeypatch, expect):
    web = start()
    asked, kept = [], []

    def refuse(self, request):
        asked.append((self.addr[0], request.command, request.path, request.headers["X_API_KEY"]))
        raise Problem(401, "key-needed", "API key needed", "Not this one.")

    monkeypatch.setattr(Connection, "before_body", refuse)
    monkeypatch.setattr(waitress.receiver.FixedStreamReceiver, "received", lambda _, data: kept.append(data))
    with web.connect() as connection:
        head = f"POST /request HTTP/1.1\r\nHost: x\r\nX-API-Key: a\r\n{expect}Content-Length: {50 * MIB}\r\n\r\n"
        connection.sendall(head.encode() + bytes(MIB))
        for _ in range(49):  # goes on sending, and reads only then
            connection.sendall(bytes(MIB))
        status, problem = problem_in(read_all(connection))
    assert (status, problem["detail"]) == (401, "Not this one.")
    assert asked == [("127.0.0.1", "POST", "/request", "a")]
    assert kept == []


@pytest.mark.parametrize("length", [b"Content-Length: 11", b"Transfer-Encoding: chunked"])
def test_a_body_has_at_most_the_bytes_that_its_header_was_granted(start, monkeypatch, length):
    web = start()
    monkeypatch.setattr(Connection, "before_body", lambda *_: 10)
    with web.connect() as connection:
        connection.sendall(b"POST /request HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n")
        connection.sendall(b"6\r\nabcdef\r\n")
        status, problem = problem_in(read_all(connection))
    assert (status, problem["type"]) == (413, "/problems/too-large")
    assert "at most 10 bytes" in problem["detail"]


def test_a_full_disk_of_the_spool_is_507_and_recovers(start, monkeypatch):
    web = start()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(waitress.buffers.TempfileBasedBuffer, "newfile", full)
    answer = web.send(payload=bytes(4 * MIB))
    assert answer.status_code == 507
    assert answer.json()["type"] == "/problems/storage-full"
    monkeypatch.undo()
    assert web.send().status_code == 202


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /request HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_no_request_is_answered_as_a_problem(start, data, status):
    web = start()
    with web.connect() as connection:
        connection.sendall(data)
        got, problem = problem_in(read_all(connection))
    assert (got, problem["status"]) == (status, status)
    assert web.get("/").status_code == 200


def test_a_percent_encoded_ampersand_is_one(start):
    web = start()
    ticket = web.send().json()
    assert web.get(f"/status/{ticket['id']}%26{ticket['token']}").status_code == 200


def test_a_taken_port_is_told_with_the_setting_that_changes_it(start):
    web = start()
    with pytest.raises(PortBusy, match=rf"^port {web.port} on 127.0.0.1 is taken .* TOMAAT_PORT"):
        web.listen("127.0.0.1")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_of_another_machine_is_told_with_the_setting_that_changes_it(start, host):
    web = start()
    with pytest.raises(PortBusy, match="TOMAAT_HOST"):
        web.listen(host)


def test_a_stopping_server_answers_who_waits_and_listens_no_more(start):
    web = start()
    ticket = web.send().json()
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(web.get(ticket["links"]["status"] + "?wait=25")))
    waiting.start()
    time.sleep(0.3)
    began = time.monotonic()
    web.stop()
    assert time.monotonic() - began < 3
    waiting.join(5)
    assert answers[0].json()["state"] == "submitted"
    with pytest.raises(requests.ConnectionError):
        web.get("/")


def test_a_stopping_server_finishes_the_download_that_it_has_begun(start):
    web = start()
    ticket = web.send().json()
    web.succeed(ticket, bytes(30 * MIB))
    with web.connect(receive_bytes=65536) as connection:
        connection.sendall(f"GET {ticket['links']['result']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        stopping = threading.Thread(target=web.server.stop)
        data = connection.recv(1000)
        stopping.start()
        data += read_all(connection)
        stopping.join(10)
    assert len(data) > 30 * MIB


def test_the_servers_own_log_names_no_path(start, monkeypatch, caplog, capfd):
    web = start()
    monkeypatch.setattr(web.server.server, "application", lambda *_: 1 / 0)
    with structlog.testing.capture_logs() as lines:
        answer = web.get("/status/1&secretsecret")
        until(lambda: any(line["event"] == "web.trouble" for line in lines))
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    written = str(lines) + caplog.text + "".join(capfd.readouterr())
    assert "ZeroDivisionError" in written
    assert "secretsecret" not in written
