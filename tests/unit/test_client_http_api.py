import socket

import pytest

from tomaat.client import GivenUp, NotAllowed, NotFound, NotReady, Refused, Unreachable, Unusable
from tomaat.client.errors import Failed
from tomaat.client.http_api import Http


@pytest.fixture
def slept(monkeypatch):
    """No pause is slept; the list has them all, and the clock goes on with them."""
    pauses = []
    monkeypatch.setattr("tomaat.client.patience.time.sleep", pauses.append)
    monkeypatch.setattr("tomaat.client.patience.time.monotonic", lambda: sum(pauses))
    return pauses


def http(url, notices=None, patience_seconds=60.0):
    notices = [] if notices is None else notices
    return Http(url, patience_seconds=patience_seconds, timeout_seconds=5, on_notice=notices.append)


def test_a_busy_server_is_asked_again_and_not_before_it_wants_to(stub, slept):
    notices = []
    stub.faults = [("GET", 503, {"headers": {"Retry-After": "7"}}), ("GET", 429), ("GET", 500), ("GET", "drop")]
    assert http(stub.url, notices).ask_json("GET", "/supportedservices") == stub.services
    assert slept[0] == 7
    assert len(slept) == 4
    assert notices[0] == "It is busy. Trying again in 7 s."


def test_patience_ends_with_what_the_server_said(stub, slept):
    stub.faults = [("GET", 503, {"slug": "queue-full", "headers": {"Retry-After": "25"}})] * 9
    with pytest.raises(Unreachable, match=r"It is queue-full\.") as raised:
        http(stub.url).ask("GET", "/supportedservices")
    assert slept == [25, 25]
    assert raised.value.problem["status"] == 503


def test_pauses_grow_and_are_bounded(stub, slept):
    stub.faults = [("GET", 502)] * 12
    http(stub.url, patience_seconds=1000).ask("GET", "/supportedservices")
    assert all(0.25 * 2**number <= pause <= 0.5 * 2**number for number, pause in enumerate(slept[:5]))
    assert max(slept) <= 20


def test_who_never_answered_is_given_up_sooner(stub, slept):
    stub.server_close()
    with pytest.raises(Unreachable, match=f"^{stub.url} does not answer: Connection refused"):
        http(stub.url).ask("GET", "/supportedservices")
    assert 1 < sum(slept) <= 5


def test_without_patience_nothing_is_asked_twice(stub):
    stub.faults = [("GET", 503)]
    with pytest.raises(Unreachable):
        http(stub.url, patience_seconds=0).ask("GET", "/supportedservices")
    assert len(stub.asked("GET")) == 1


@pytest.mark.parametrize(
    ("status", "slug", "kind"),
    [
        (400, "invalid-request", Refused),
        (401, "key-needed", NotAllowed),
        (403, "service-not-allowed", NotAllowed),
        (404, "not-found", NotFound),
        (409, "not-ready", NotReady),
        (409, "cancelled", GivenUp),
        (409, "task-crashed", Failed),
        (410, "expired", NotFound),
        (413, "too-large", Refused),
        (415, "not-gzip", Refused),
        (422, "invalid-inputs", Refused),
    ],
)
def test_an_answer_becomes_the_error_of_its_cause_with_the_servers_words(stub, status, slug, kind):
    errors = [{"input": "f1", "code": "not-a-number", "detail": "f1: 'x' is not a number."}]
    stub.faults = [("GET", status, {"slug": slug, "errors": errors})]
    with pytest.raises(kind) as raised:
        http(stub.url).ask("GET", "/supportedservices")
    assert raised.value.sentences()[:2] == [f"It is {slug}.", "f1: 'x' is not a number."]
    assert raised.value.errors == errors


def test_a_server_of_another_kind_is_told_apart(stub):
    stub.services = b"<html>"
    with pytest.raises(Unreachable, match="not as a TOMAAT server does"):
        http(stub.url).ask_json("GET", "/supportedservices")
    stub.faults = [("GET", 301, {"headers": {"Location": "https://there.example/status/1&secret"}})]
    with pytest.raises(Unusable, match=r"sends its clients to https://there\.example;"):
        http(stub.url).ask("GET", "/supportedservices")


@pytest.mark.parametrize("url", ["127.0.0.1:5000", "ftp://host", "http://", "http://host:port", "https://[::1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(Unusable, match="begins with http://"):
        http(url)


def test_a_token_is_shown_in_the_header_and_no_netrc_is(stub, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    http(stub.url).ask("GET", "/status/1", token="secret1")
    http(stub.url).ask("GET", "/supportedservices")
    assert [(path, headers.get("Authorization")) for _, path, headers in stub.seen] == [
        ("/status/1", "Bearer secret1"),
        ("/supportedservices", None),
    ]


def test_a_password_for_the_proxy_moves_the_token_into_the_path_and_stays_out_of_sentences(stub):
    asked = http(stub.url.replace("//", "//me:my%20own@"))
    assert asked.url == stub.url
    asked.ask("GET", "/status/1", token="secret1", query={"wait": "1"})
    _, path, headers = stub.seen[0]
    assert path == "/status/1&secret1?wait=1"
    assert headers["Authorization"] == "Basic bWU6bXkgb3du"


def test_what_breaks_is_told_without_the_token(stub):
    asked = http(stub.url.replace("//", "//me:own@"), patience_seconds=0)
    stub.faults = [("GET", "drop")]
    with pytest.raises(Unreachable) as raised:
        asked.ask("GET", "/status/1", token="secret1")
    assert "secret1" not in str(raised.value) + repr(raised.value.__cause__)
    assert raised.value.__suppress_context__


def test_why_a_request_broke_is_told_in_words(stub):
    stub.faults = [("GET", "drop")]
    with pytest.raises(Unreachable, match=r"answer: Remote end closed connection without response\. If it"):
        http(stub.url, patience_seconds=0).ask("GET", "/supportedservices")
    with pytest.raises(Unreachable, match=r"answer: (Name or service|Temporary failure|No address)[a-z ]+\. Is"):
        http("http://no-such-host.invalid", patience_seconds=0).ask("GET", "/supportedservices")
    silent = socket.create_server(("127.0.0.1", 0))
    asked = http(f"http://127.0.0.1:{silent.getsockname()[1]}", patience_seconds=0)
    asked.timeout_seconds = 0.05
    with silent, pytest.raises(Unreachable, match=r"does not answer: nothing came in time\. Is"):
        asked.ask("GET", "/supportedservices")
