"""Each thing that goes wrong on the way to a server says what to type."""

import contextlib
import socket
import ssl
import threading

import pytest
import requests

from tomaat.client import Client, Failed, NotAllowed, Refused, Unreachable, Unusable
from tomaat.client.cases import cases_of
from tomaat.client.troubles import untrusted

pytestmark = pytest.mark.usefixtures("quick_client")
NGINX = "<h1>400 Bad Request</h1><p>The plain HTTP request was sent to HTTPS port</p>"
GO = "Client sent an HTTP request to an HTTPS server."


@contextlib.contextmanager
def answering(answer):
    """Be a server that answers one request with some bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def bad_request(body):
    return f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def services(url, **how):
    return Client(url, patience_seconds=0, **how).services()


def test_a_refusal_says_all_its_faults_as_a_text_too(stub):
    with pytest.raises(Refused) as caught:
        Client(stub.url).prepare("Sum", {"f1": "abc", "op": "divide"})
    assert str(caught.value) == (
        "The inputs were refused; nothing was sent. f1: 'abc' is not a number. op: 'divide' is none of add, multiply."
    )
    faults = [{"input": "scan", "code": "several-series", "detail": "scan: 2 series were sent: 1.2 and 1.3."}]
    told = str(Failed("scan: 2 series were sent: 1.2 and 1.3.", {"errors": faults}))
    assert told == "scan: 2 series were sent: 1.2 and 1.3. Choose one: add scan.series=<its UID> to the command."


@pytest.mark.parametrize(
    ("key", "headers", "remedy"),
    [
        (None, {}, "Put your API key into TOMAAT_KEY, or into a file and add --key-file FILE"),
        ("wrong", {"WWW-Authenticate": "X-API-Key"}, "Look at TOMAAT_KEY, or at the file of --key-file"),
        (None, {"WWW-Authenticate": 'Basic realm="here"'}, "write them into the address, https://name:password@host"),
    ],
)
def test_who_is_not_let_in_is_told_where_the_key_or_the_password_goes(stub, key, headers, remedy):
    stub.faults = [("POST", 401, {"slug": "key-needed", "headers": headers})]
    with pytest.raises(NotAllowed, match=f"^It is key-needed. .*{remedy}"):
        Client(stub.url, key=key).submit("Sum", f1=1)


def test_a_key_of_several_lines_names_the_places_that_it_may_come_from(stub):
    with pytest.raises(Unusable, match=r"not one line of plain characters\. Look at TOMAAT_KEY, or at the file of"):
        Client(stub.url, key="two\nlines")


def test_https_at_an_http_server_is_told_with_the_right_address(stub):
    with pytest.raises(Unusable, match=rf"does not speak https\. Write {stub.url}, by --url or TOMAAT_URL\.$"):
        services(stub.url.replace("http://", "https://"))


def test_a_server_that_hangs_up_on_https_may_speak_http(stub):
    with answering(b"") as url, pytest.raises(Unreachable) as caught:
        services(url.replace("http://", "https://"))
    there = url.replace("http://", "https://")
    told = f"{there} hung up when https began. If it does not speak https, write {url}, by --url or TOMAAT_URL."
    assert str(caught.value) == told


def test_a_server_of_https_that_answered_before_and_hangs_up_is_asked_again(stub, monkeypatch):
    client = Client(stub.url, patience_seconds=5)
    client.services()
    request = client.http.session.request
    broken = [requests.exceptions.SSLError(ssl.SSLEOFError(8, "EOF occurred in violation of protocol"))]

    def once(*arguments, **how):
        if broken:
            raise broken.pop()
        return request(*arguments, **how)

    monkeypatch.setattr(client.http.session, "request", once)
    assert client.services()
    assert broken == []


@pytest.mark.parametrize("answer", [b"\x15\x03\x01\x00\x02\x02\x46", bad_request(NGINX), bad_request(GO)])
def test_http_at_an_https_server_is_told_with_the_right_address(answer):
    with answering(answer) as url, pytest.raises(Unusable) as caught:
        services(url)
    there = url.replace("http://", "https://")
    assert str(caught.value) == f"{url} speaks https only. Write {there}, by --url or TOMAAT_URL."


def test_a_server_that_hangs_up_at_once_may_speak_https(stub):
    stub.faults = [("GET", "drop")]
    with pytest.raises(Unreachable, match=rf"If it speaks https, write {stub.url.replace('http', 'https')}, by --url"):
        services(stub.url)


def test_another_bad_request_is_told_as_it_is():
    with answering(bad_request("What?")) as url, pytest.raises(Refused, match=r"answered 400 Bad Request\.$"):
        services(url)


def test_a_certificate_that_is_not_trusted_is_told_with_how_to_trust_it():
    error = requests.exceptions.SSLError(ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed"))
    told = str(untrusted("https://here", error))
    assert told.startswith("https://here cannot be trusted: certificate verify failed: self-signed. ")
    assert "REQUESTS_CA_BUNDLE=authority.pem" in told


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
def test_a_dead_proxy_is_named_with_the_variable_that_names_it(monkeypatch, name):
    for each in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "http://me:secret@127.0.0.1:1")
    with pytest.raises(Unreachable) as caught:
        services("http://tomaat.example")
    assert str(caught.value) == (
        "The proxy 127.0.0.1:1 does not answer: Connection refused. "
        f"{name} names it: unset it, or go around it by NO_PROXY=tomaat.example."
    )


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (
            b"407 Proxy Authentication Required",
            NotAllowed,
            "wants a name and a password. HTTPS_PROXY names it: write the",
        ),
        (
            b"403 Forbidden",
            Unreachable,
            "answers 403 instead. HTTPS_PROXY names it: unset it, or go around it by NO_PROXY=",
        ),
    ],
)
def test_a_proxy_that_opens_no_way_to_https_is_told_with_the_remedy(monkeypatch, status, kind, told):
    with answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as url:
        for each in ("https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(each, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(kind) as caught:
            services("https://tomaat.example")
    assert str(caught.value).startswith(f"The proxy {url.removeprefix('http://')} {told}")


def test_where_nobody_answers_it_is_told_where_the_address_comes_from():
    with pytest.raises(Unreachable, match=r"Connection refused\. Is the address right, .* --url or TOMAAT_URL gives"):
        services("http://127.0.0.1:1")


def test_two_files_of_one_name_are_told_with_the_pattern_that_tells_them_apart():
    interface = {"scan": {"store": "file", "extensions": [".nii", ".nii.gz"]}}
    with pytest.raises(Unusable, match=r"to one folder\. .*: 'scan=in/\*/t1.nii'\. Or: Send each by a command"):
        cases_of({"scan": ["in/anna/t1.nii", "in/bert/t1.nii"]}, interface)
    with pytest.raises(Unusable, match=r"would go to one folder\. Send each"):
        cases_of({"scan": ["in/t1.nii", "in/t1.nii.gz"]}, interface)
