"""In which order an upload is looked at."""

import pytest

from tests.unit.fake_store import MIB, Web, packed
from tests.unit.test_web_api_form import TYPE, part
from tomaat.web.api import submission

GOOD = packed(main={"f1": 1, "f2": 2})


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    made.keys.make("anna", services=("FloatComputation",))
    yield made
    made.close()


@pytest.fixture
def asked(monkeypatch):
    """The services for which permission was asked."""
    names, demand = [], submission.demand_service

    def note(key, service):
        names.append(service)
        demand(key, service)

    monkeypatch.setattr(submission, "demand_service", note)
    return names


@pytest.fixture
def unpacked(monkeypatch):
    """The bytes of each payload that the unpacker was given."""
    payloads, unpack = [], submission.unpack

    def note(chunks, *more):
        payloads.append(b"".join(chunks))
        return unpack(iter([payloads[-1]]), *more)

    monkeypatch.setattr(submission, "unpack", note)
    return payloads


def send(web, payload, service, *, service_first):
    fields = [part("service", service.encode()), part("payload", payload, filename="payload.tar.gz")]
    body = b"".join(fields if service_first else reversed(fields)) + b"--edge--\r\n"
    headers = {"X-API-Key": "key-of-anna", "Content-Type": TYPE}
    return web.client.post("/request", data=body, headers=headers)


@pytest.mark.parametrize("service_first", [True, False])
def test_permission_is_asked_once_for_a_payload_of_many_chunks(web, asked, service_first):
    answer = send(web, GOOD + bytes(MIB), "FloatComputation", service_first=service_first)
    assert answer.get_json()["type"] == "/problems/unreadable-archive"
    assert send(web, GOOD, "FloatComputation", service_first=service_first).status_code == 202
    assert asked == ["FloatComputation", "FloatComputation"]


@pytest.mark.parametrize(("service", "status"), [("GaussianSmoothing", 403), ("Div", 404)])
@pytest.mark.parametrize("service_first", [True, False])
def test_a_service_that_is_refused_is_unpacked_only_where_it_is_named_behind(
    web, unpacked, service, status, service_first
):
    assert send(web, GOOD, service, service_first=service_first).status_code == status
    assert unpacked == ([] if service_first else [GOOD])
    assert web.uploads_left() == []
    assert list(web.storage.tickets.iterdir()) == []


def test_a_broken_payload_for_a_service_that_is_refused_is_told_as_the_refusal(web):
    assert send(web, b"no archive", "Div", service_first=False).get_json()["type"] == "/problems/unknown-service"
    assert send(web, b"no archive", "FloatComputation", service_first=False).get_json()["type"] == "/problems/not-gzip"
