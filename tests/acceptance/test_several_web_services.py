"""Two WebServices on one database and one storage folder, also behind one address: each knows the other's tickets."""

import copy
import io
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
from urllib3.filepost import encode_multipart_formdata

from tests.acceptance.page import Door, small_volume
from tests.acceptance.test_proxy import NGINX, Proxy
from tests.needs import need
from tests.service import payload

ADD = {"f1": 1, "f2": 2}


@pytest.fixture(scope="module")
def place(service, tmp_path_factory):
    """Where the second WebService runs, which the tests kill."""
    door = Door(service, tmp_path_factory.mktemp("second"))
    yield door
    door.kill()


@pytest.fixture
def other(service, place):
    """A client of the second WebService, which runs."""
    if place.process is None or place.process.poll() is not None:
        place.start()
    client = copy.copy(service)
    client.url = place.url
    return client


@pytest.fixture
def kill(place):
    """End the second WebService at once, by SIGKILL."""
    return place.kill


def delete(client, ticket):
    return requests.delete(f"{client.url}{ticket['links']['cancel']}", timeout=30)


def begin_upload(client, body, head):
    """Send a request's head and the first half of its body."""
    address = urlsplit(client.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    connection.sendall(head + body[: len(body) // 2])
    return connection


def form(inputs):
    body, kind = encode_multipart_formdata(
        {"service": "FloatComputation", "payload": ("payload.tar.gz", payload(inputs))}
    )
    head = f"POST /request HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return body, head.encode()


def test_a_ticket_of_one_is_waited_for_and_fetched_at_the_other(service, other):
    for one, another in ((service, other), (other, service)):
        ticket = one.submit("Dummy", {"seconds": 0.5})
        with ThreadPoolExecutor() as pool:
            waiting = [pool.submit(each.status, ticket, "?wait=30") for each in (another, one)]
            assert [each.result()["state"] for each in waiting] == ["succeeded"] * 2
        answers = [requests.get(f"{each.url}{ticket['links']['result']}", timeout=30) for each in (one, another)]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["ETag"] == answers[1].headers["ETag"]


def test_a_ticket_of_one_is_given_up_at_the_other_and_whoever_waits_hears_of_it(service, other):
    for one, another in ((service, other), (other, service)):
        running = one.submit("Dummy", {"seconds": 60})
        one.until(lambda ticket=running, at=one: at.status(ticket)["state"] == "running")
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(one.status, running, "?wait=50")
            assert delete(another, running).status_code == 202
            assert waiting.result()["state"] == "cancelled"
        ended = one.submit("FloatComputation", ADD)
        assert one.wait(ended)["state"] == "succeeded"
        assert delete(another, ended).status_code in {200, 202}
        assert requests.get(f"{one.url}{ended['links']['result']}", timeout=30).status_code == 410


def test_a_request_that_is_sent_again_to_the_other_gets_the_same_ticket(service, other):
    body, kind = encode_multipart_formdata({"service": "FloatComputation", "payload": ("payload.tar.gz", payload(ADD))})
    headers = {"Content-Type": kind, "Idempotency-Key": "sent-to-two"}
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(requests.post, f"{at.url}/request", body, headers=headers) for at in (service, other) * 3]
        answers = [each.result() for each in asked]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_volume_that_is_looked_at_through_both_at_once_is_one_file(service, other):
    ticket = service.submit("GaussianSmoothing", {"sigma": 1}, volume_nii_gz=small_volume())
    assert other.wait(ticket)["state"] == "succeeded"
    path = f"{ticket['links']['files'].replace('/files/', '/input/')}/volume.nii.gz"
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(requests.get, f"{each.url}{path}?wait=60", timeout=90) for each in (service, other)]
        first, second = (each.result() for each in asked)
    assert (first.status_code, second.status_code) == (200, 200), first.text + second.text
    assert first.content == second.content
    tags = [requests.get(f"{each.url}{path}", timeout=30).headers["ETag"] for each in (service, other)]
    assert tags[0] == tags[1]
    half = requests.get(f"{service.url}{path}", headers={"Range": "bytes=100-", "If-Range": tags[1]}, timeout=30)
    assert (half.status_code, first.content[:100] + half.content) == (206, second.content)


def test_one_that_is_killed_costs_the_other_and_its_tickets_nothing(service, other, kill):
    tickets = [other.submit("Dummy", {"seconds": 0.2}) for _ in range(5)]
    done = other.submit("FloatComputation", ADD)
    assert other.wait(done)["state"] == "succeeded"
    whole = service.result(done)
    part = requests.get(f"{other.url}{done['links']['result']}", headers={"Range": "bytes=0-99"}, timeout=30)
    before = service.rows("SELECT count(*) AS tickets FROM tickets")[0].tickets
    waits = threading.Event()

    def wait_at_the_other():
        waits.set()
        with pytest.raises(requests.RequestException):
            requests.get(f"{other.url}{tickets[-1]['links']['status']}?wait=50", timeout=60)

    body, head = form(ADD)
    with begin_upload(other, body, head), begin_upload(service, body, head) as goes_on, ThreadPoolExecutor() as pool:
        waiting = pool.submit(wait_at_the_other)
        waits.wait()
        kill()
        goes_on.sendall(body[len(body) // 2 :])
        assert goes_on.recv(20).startswith(b"HTTP/1.1 202 ")
        waiting.result()
    for ticket in tickets:
        assert service.wait(ticket)["state"] == "succeeded"
    rest = requests.get(
        f"{service.url}{done['links']['result']}",
        headers={"Range": "bytes=100-", "If-Range": part.headers["ETag"]},
        timeout=30,
    )
    assert rest.status_code == 206
    assert part.content + rest.content == requests.get(f"{service.url}{done['links']['result']}", timeout=30).content
    assert whole["result.json"]
    assert service.rows("SELECT count(*) AS tickets FROM tickets")[0].tickets == before + 1, "no half upload has a row"


def test_behind_one_address_the_one_that_lives_takes_every_request(service, other, kill, place, tmp_path):
    need(NGINX, "openssl")
    proxy = Proxy(tmp_path, place.service.port, int(urlsplit(other.url).port))
    proxy.start()
    try:
        files = {"payload": ("payload.tar.gz", payload(ADD))}

        def submit():
            files["payload"] = ("payload.tar.gz", io.BytesIO(payload(ADD)))
            return proxy.ask("POST", "/request", data={"service": "FloatComputation"}, files=files)

        tickets = [submit() for _ in range(6)]
        kill()
        tickets += [submit() for _ in range(6)]
        assert {answer.status_code for answer in tickets} == {202}
        began = time.monotonic()
        for answer in tickets:
            path = answer.json()["links"]["status"]
            assert proxy.ask("GET", f"{path}?wait=25").json()["state"] == "succeeded"
        assert time.monotonic() - began < 25
        served = proxy.logs()["tomaat.log"].splitlines()
        assert not [line for line in served if " 503 " in line]
        assert any("502" in line for line in served), "the proxy met the dead one, and went to the other"
    finally:
        proxy.stop()
