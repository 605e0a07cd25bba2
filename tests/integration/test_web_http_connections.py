"""What a stranger's connections cost, over real sockets: keys, spools, slowness, number, and places to unpack."""

import io
import random
import re
import socket
import tarfile
import threading
import time

import psutil
import pytest
import requests
import waitress.buffers

from tests.unit.fake_store import MIB
from tests.web_server import problem_in, read_all, until
from tomaat.client import Client, Unusable
from tomaat.database import DatabaseUnavailable
from tomaat.web.api import submission
from tomaat.web.http import connection as connection_module
from tomaat.web.http import connections as connections_module

LARGE = 3 * MIB
POST = "POST /request HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def spools(monkeypatch):
    """The files that were made to spool into."""
    made = []
    newfile = waitress.buffers.TempfileBasedBuffer.newfile

    def note(self):
        made.append(self)
        return newfile(self)

    monkeypatch.setattr(waitress.buffers.TempfileBasedBuffer, "newfile", note)
    return made


def large_payload():
    """A payload that is too large to be held in memory: blanks in main.json, which gzip cannot make small."""
    content = b'{"inputs": {"f1": 1, "f2": 2}}' + bytes(random.Random(1).choices(b" \n\t\r", k=900_000))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("main.json")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def upload(key=None, *, expect=False):
    """The header and the body of an upload that is large enough to be spooled."""
    form = requests.Request(
        "POST", "http://x/", data={"service": "FloatComputation"}, files={"payload": ("p", large_payload())}
    ).prepare()
    head = f"{POST}Content-Type: {form.headers['Content-Type']}\r\nContent-Length: {len(form.body)}\r\n"
    head += f"X-API-Key: {key}\r\n" if key else ""
    head += "Expect: 100-continue\r\n" if expect else ""
    return (head + "Connection: close\r\n\r\n").encode(), form.body


def all_of(web):
    return web.server.connections.all()


def status_of(answer):
    return int(answer.split()[1])


@pytest.mark.parametrize("length", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("key", ["", "X-API-Key: wrong\r\n"])
def test_without_a_right_key_no_byte_is_spooled(start, spools, length, key):
    web = start(keys_needed=True)
    with web.connect() as connection:
        connection.sendall(f"{POST}{key}{length}\r\n\r\n".encode() + b"100000\r\n" + bytes(MIB) + b"\r\n")
        status, problem = problem_in(read_all(connection))
    assert (status, problem["type"]) == (401, "/problems/key-needed")
    assert spools == []
    assert web.audit.counted == [("submit", "key-needed")]
    assert web.audit.lines == []


@pytest.mark.parametrize("expect", [False, True])
def test_a_key_that_was_never_shown_before_is_asked_for_and_the_upload_goes_on(start, spools, expect):
    web = start(keys_needed=True)
    for _ in range(2):  # the second time it is known
        head, body = upload(web.keys.make("radiology"), expect=expect)
        with web.connect() as connection:
            connection.sendall(head)
            if expect:
                assert connection.recv(1000).startswith(b"HTTP/1.1 100")
            connection.sendall(body)
            assert status_of(read_all(connection)) == 202
    assert spools
    assert {name for name, _ in web.keys.asked} >= {"keys"}


def test_while_a_key_is_asked_for_everybody_else_is_answered(start, monkeypatch):
    web = start(keys_needed=True)
    head, body = upload(web.keys.make("radiology"))
    asked, answer_now = threading.Event(), threading.Event()
    find = web.keys.find

    def slowly(key):
        asked.set()
        answer_now.wait(30)
        return find(key)

    monkeypatch.setattr(web.keys, "find", slowly)
    with web.connect() as connection:
        connection.sendall(head + body[:1000])
        assert asked.wait(10)
        assert web.get("/health/live").status_code == 200
        answer_now.set()
        connection.sendall(body[1000:])
        assert status_of(read_all(connection)) == 202


def test_a_key_that_cannot_be_asked_for_is_503(start, monkeypatch):
    web = start(keys_needed=True)

    def away(key):
        raise DatabaseUnavailable(key)

    monkeypatch.setattr(web.keys, "find", away)
    with web.connect() as connection:
        connection.sendall(upload("a")[0])
        assert problem_in(read_all(connection))[0] == 503


def test_in_an_outage_one_waits_for_the_database_and_all_others_are_answered_at_once(start, monkeypatch):
    web = start(keys_needed=True)
    asked, give_up = [], threading.Event()

    def silent(key):
        asked.append(key)
        give_up.wait(30)
        raise DatabaseUnavailable

    monkeypatch.setattr(web.keys, "find", silent)
    monkeypatch.setattr(connections_module, "AWAY_SECONDS", 30.0)
    waiting = [web.connect() for _ in range(5)]
    for number, connection in enumerate(waiting):
        connection.sendall(upload(f"key-{number}")[0])
    until(lambda: asked and web.server.connections.keys_to_find.qsize() == 4)
    give_up.set()
    for connection in waiting:
        with connection:
            assert problem_in(read_all(connection))[0] == 503
    assert asked == ["key-0"]


def test_once_the_database_was_away_it_is_asked_again_after_a_while(start, monkeypatch):
    web = start(keys_needed=True)
    key, find = web.keys.make("radiology"), web.keys.find

    def away(key):
        raise DatabaseUnavailable(key)

    monkeypatch.setattr(web.keys, "find", away)
    monkeypatch.setattr(connections_module, "AWAY_SECONDS", 0.0)
    head, body = upload(key)
    for how, status in ((away, 503), (find, 202)):
        monkeypatch.setattr(web.keys, "find", how)
        with web.connect() as connection:
            connection.sendall(head + body)
            assert status_of(read_all(connection)) == status


def test_no_key_is_asked_for_whose_client_has_left(start, monkeypatch):
    web = start(keys_needed=True)
    asked, go_on = [], threading.Event()
    find = web.keys.find

    def slowly(key):
        asked.append(key)
        go_on.wait(30)
        return find(key)

    monkeypatch.setattr(web.keys, "find", slowly)
    with web.connect() as first:
        first.sendall(upload("first")[0])
        until(lambda: asked)
        with web.connect() as leaving:
            leaving.sendall(upload("leaves")[0])
            until(lambda: web.server.connections.keys_to_find.qsize() == 1)
        with web.connect() as last:
            last.sendall(upload("last")[0])
            until(lambda: web.server.connections.keys_to_find.qsize() == 2)
            go_on.set()
            assert status_of(read_all(last)) == 401
        assert status_of(read_all(first)) == 401
    assert asked == ["first", "last"]
    until(lambda: not all_of(web))


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("POST /nothing", 404),
        ("PUT /request", 405),
        ("POST /queues/drain", 413),
        ("GET /health/live", 413),
    ],
)
@pytest.mark.parametrize("length", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
def test_only_an_upload_may_have_a_large_body(start, spools, first, status, length):
    web = start()
    with web.connect() as connection:
        connection.sendall(f"{first} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode() + b"20000\r\n" + bytes(131_072))
        assert problem_in(read_all(connection))[0] == status
    most = 1 if status == 413 and "chunked" in length else 0  # what comes at once is kept, then its length is known
    assert len(spools) <= most


@pytest.mark.parametrize("length", [f"Content-Length: {LARGE}", "Transfer-Encoding: chunked"])
def test_all_spools_together_are_bounded(start, length):
    web = start(largest_spools_bytes=5 * MIB)
    head = f"{POST}{length}\r\n\r\n".encode() + b"200000\r\n" + bytes(200_000)
    first = web.connect()
    first.sendall(head)
    until(lambda: sum(each.spooled_bytes for each in all_of(web)) >= 200_000)
    with web.connect() as second:
        second.sendall(head)
        answer = read_all(second)
        assert problem_in(answer)[0] == 503
        assert b"Retry-After: 10" in answer
    assert web.get("/health/live").status_code == 200
    first.close()
    until(lambda: all_of(web) == [])
    with web.connect() as third:
        third.sendall(head)
        until(lambda: sum(each.spooled_bytes for each in all_of(web)) >= 200_000)


def test_a_chunked_body_that_outgrows_the_room_is_refused_on_its_way(start, monkeypatch):
    monkeypatch.setattr(connection_module, "CHUNKED_STEP_BYTES", MIB)
    web = start(largest_spools_bytes=6 * MIB)
    first = web.connect()
    first.sendall(f"{POST}Content-Length: {LARGE}\r\n\r\nx".encode())
    until(lambda: [each.spooled_bytes for each in all_of(web)] == [LARGE])
    with web.connect() as second:
        second.sendall(f"{POST}Transfer-Encoding: chunked\r\n\r\n400000\r\n".encode())
        for _ in range(4):
            second.sendall(bytes(MIB))
        assert problem_in(read_all(second))[0] == 503
    first.close()


CHUNKED = f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("endless", "detail"),
    [
        (b"0" * 20_000, "The body's line before a chunk has at most 1024 bytes; this one has more."),
        (b"1;" + b"x" * 20_000, "The body's line before a chunk has at most 1024 bytes; this one has more."),
        (b"0\r\n" + b"x" * 100_000, "The body's trailer has at most 65536 bytes; this one has more."),
        (b"0\r\n" + b"x: y\r\n" * 20_000, "The body's trailer has at most 65536 bytes; this one has more."),
    ],
)
def test_what_a_chunked_body_holds_in_memory_is_bounded(start, endless, detail):
    web = start()
    with web.connect() as connection:
        connection.sendall(CHUNKED + endless)
        status, problem = problem_in(read_all(connection))
    assert (status, problem["type"], problem["detail"]) == (400, "/problems/invalid-request", detail)


@pytest.mark.parametrize("size", [b"ffffffff", b"f" * 500])
def test_a_chunk_that_is_too_large_is_refused_before_it_comes(start, spools, size):
    web = start()
    with web.connect() as connection:
        connection.sendall(CHUNKED + size + b"\r\n")
        assert problem_in(read_all(connection))[0] == 413
    assert spools == []


def test_an_upload_may_come_in_chunks_with_extensions_and_a_trailer(start):
    web = start()
    head, body = upload()
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    chunks = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
    framed = b"".join(b"%x;part=%s\r\n%s\r\n" % (len(chunk), b"x" * 900, chunk) for chunk in chunks)
    with web.connect() as connection:
        connection.sendall(head + framed + b"0\r\n" + b"x: y\r\n" * 9000 + b"\r\n")
        assert status_of(read_all(connection)) == 202


def test_two_hundred_slow_connections_of_one_address_keep_nobody_else_away(start):
    web = start(proxies=["192.0.2.1"], most_of_one_address=50)
    slow = []
    for _ in range(200):
        connection = socket.create_connection(("127.0.0.1", web.port), source_address=("127.0.0.2", 0))
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
        slow.append(connection)
        until(lambda: len(all_of(web)) <= 51)
    assert web.get("/health/live").status_code == 200
    assert web.send().status_code == 202
    peers = [each.peer for each in all_of(web)]
    assert peers.count("127.0.0.2") == 50
    kept = {each.socket.getpeername()[1] for each in all_of(web) if each.peer == "127.0.0.2"}
    assert kept == {connection.getsockname()[1] for connection in slow[-50:]}, "the oldest were closed"
    for connection in slow:
        connection.close()


def test_slow_connections_of_all_addresses_keep_nobody_away(start, monkeypatch):
    monkeypatch.setattr(connections_module, "MOST_CONNECTIONS", 200)
    web = start()
    slow = [web.connect() for _ in range(250)]
    for connection in slow[:200]:
        connection.sendall(b"GET / HTTP/1.1\r\nHost:")
    assert web.send().status_code == 202
    until(lambda: len(all_of(web)) <= 200)
    for connection in slow:
        connection.close()


def test_a_connection_that_is_served_is_not_closed_for_a_new_one(start):
    web = start(proxies=["192.0.2.1"], most_of_one_address=2)
    sending = [web.connect() for _ in range(2)]
    for connection in sending:
        connection.sendall(f"{POST}Content-Length: 1000\r\n\r\nx".encode())
    until(lambda: [each.idle for each in all_of(web)] == [False, False])
    with web.connect() as third:
        assert read_all(third) == b""
    assert [each.will_close for each in all_of(web)] == [False, False]
    for connection in sending:
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"\r\n"])
def test_a_header_that_does_not_come_ends_its_connection(start, monkeypatch, sent):
    monkeypatch.setattr(connection_module, "HEADER_SECONDS", 0.0)
    web = start()
    with web.connect() as connection:
        connection.sendall(sent)
        assert read_all(connection) == b""


def test_who_speaks_tls_is_told_at_once_that_it_is_http(start):
    """No end of a header would come, and both would wait until it is too late for one."""
    web = start()
    began = time.monotonic()
    with pytest.raises(Unusable, match=r"does not speak https\. Write http://"):
        Client(web.url.replace("http://", "https://"), patience_seconds=0).services()
    assert time.monotonic() - began < connection_module.HEADER_SECONDS / 2
    with web.connect() as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00")
        status, problem = problem_in(read_all(connection))
    assert (status, problem["detail"]) == (400, "This server speaks http, not https; a TLS proxy may stand before it.")


def test_a_connection_between_two_requests_is_left_alone(start):
    web = start()
    with requests.Session() as session:
        assert session.get(f"{web.url}/health/live", timeout=10).status_code == 200
        (kept,) = all_of(web)
        assert kept.look_at_time(time.monotonic() + 60) is None


def test_a_body_has_a_least_rate(start, monkeypatch):
    monkeypatch.setattr(connections_module, "LOOK_SECONDS", 1e9)  # only this test looks
    web = start()
    with web.connect() as connection:
        connection.sendall(f"{POST}Content-Length: 100000\r\n\r\n".encode() + bytes(30_000))
        until(lambda: [each.request and each.request.body_bytes_received for each in all_of(web)] == [30_000])
        (held,) = all_of(web)
        now = time.monotonic()
        assert held.look_at_time(now + 10) is None, "there are 20 s for the first bytes"
        assert held.look_at_time(now + 21) is None
        connection.sendall(bytes(19_000))
        until(lambda: held.request.body_bytes_received == 49_000)
        assert held.look_at_time(now + 42) == "slow-body"
        status, problem = problem_in(read_all(connection))
    assert (status, problem["type"]) == (408, "/problems/too-slow")
    assert "19000 bytes came within 20 s; at least 1000 a second" in problem["detail"]


def test_a_slow_body_is_looked_at_by_the_server_itself(start, monkeypatch):
    monkeypatch.setattr(connection_module, "BODY_SECONDS", 0.1)
    web = start()
    with web.connect() as connection:
        connection.sendall(f"{POST}Content-Length: 100000\r\n\r\nx".encode())
        assert problem_in(read_all(connection))[0] == 408


def test_uploads_are_unpacked_in_three_eighths_of_the_threads_and_the_rest_wait_without_one(start, monkeypatch):
    web = start(threads=8)
    inside, most, go_on = [], [], threading.Event()
    unpack = submission.unpack

    def slowly(*how):
        inside.append(1)
        most.append(len(inside))
        go_on.wait(30)
        inside.pop()
        return unpack(*how)

    monkeypatch.setattr(submission, "unpack", slowly)
    answers = []
    clients = [threading.Thread(target=lambda: answers.append(web.send().status_code)) for _ in range(20)]
    for client in clients:
        client.start()
    until(lambda: len(web.server.connections.waiting) == 17)
    for _ in range(10):
        assert web.get("/health/live").status_code == 200
    assert (len(inside), answers) == (3, [])
    go_on.set()
    for client in clients:
        client.join(30)
    assert answers == [202] * 20
    assert max(most) == 3
    until(lambda: not web.server.connections.unpacking)


def test_a_client_that_leaves_while_it_waits_leaves_nothing(start, monkeypatch):
    web = start(threads=4)
    go_on = threading.Event()
    unpack = submission.unpack
    monkeypatch.setattr(submission, "unpack", lambda *how: go_on.wait(30) and unpack(*how))
    first = threading.Thread(target=web.send)
    first.start()
    until(lambda: len(web.server.connections.unpacking) == 1)
    before = psutil.Process().num_fds()
    head, body = upload()
    with web.connect() as connection:
        connection.sendall(head + body)
        until(lambda: len(web.server.connections.waiting) == 1)
    go_on.set()
    first.join(30)
    until(lambda: not (web.server.connections.waiting or web.server.connections.unpacking))
    until(lambda: psutil.Process().num_fds() <= before)
    assert web.send().status_code == 202
