"""Who may submit: API keys, their services and limits, and the audit trail of it."""

import time

import pytest

from tests.unit.fake_store import Web, packed
from tests.unit.test_web_api_api import FILE_WRAPPER
from tomaat.access.key_store import Usage


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path, keys_needed=True)
    yield made
    made.close()


@pytest.fixture
def open_web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


def problem_of(answer, status, slug):
    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{slug}")
    return problem


def test_without_a_key_nobody_submits_where_keys_are_needed(web):
    answer = web.post()
    problem_of(answer, 401, "key-needed")
    assert answer.headers["WWW-Authenticate"] == "X-API-Key"
    assert web.uploads_left() == []


@pytest.mark.parametrize("shown", ["wrong", "", "é", "x" * 10_000])
def test_a_wrong_key_is_refused_also_where_none_is_needed(web, open_web, shown):
    for each in (web, open_web):
        if shown or each is web:
            problem_of(each.post(headers={"X-API-Key": shown}), 401, "key-needed")


def test_a_key_lets_its_holder_in_and_its_name_stays_with_the_ticket(web):
    ticket = web.post(headers={"X-API-Key": web.keys.make("radiology")}).get_json()
    assert web.store.tickets[ticket["id"]].key_name == "radiology"
    assert web.client.get(ticket["links"]["status"]).status_code == 200, "the token alone is enough for the rest"


def test_a_key_reaches_its_own_services_only(web):
    key = {"X-API-Key": web.keys.make("radiology", ("GaussianSmoothing",))}
    problem = problem_of(web.post(headers=key), 403, "service-not-allowed")
    assert "radiology may not ask for FloatComputation; it may ask for GaussianSmoothing" in problem["detail"]
    assert web.uploads_left() == []


@pytest.mark.parametrize(
    ("used", "slug"),
    [(Usage(waiting=10, within_a_minute=0), "queue-full"), (Usage(waiting=0, within_a_minute=20), "busy")],
)
def test_a_key_beyond_its_limits_is_asked_to_come_later(web, used, slug):
    key = {"X-API-Key": web.keys.make("radiology")}
    web.keys.used = used
    answer = web.post(headers=key)
    problem_of(answer, 429, slug)
    assert int(answer.headers["Retry-After"]) > 0


def test_each_submission_refusal_and_read_is_in_the_audit_trail(web):
    key = {"X-API-Key": web.keys.make("radiology")}
    web.post()
    web.post(headers=key, service="Nothing")
    ticket = web.post(headers=key).get_json()
    web.succeed(ticket)
    for headers in ({}, {"Range": "bytes=0-2"}):
        web.client.get(ticket["links"]["result"], headers=headers, environ_overrides=FILE_WRAPPER)
    web.client.head(ticket["links"]["result"])
    assert web.audit.counted == [("submit", "key-needed")], "anybody can repeat it"
    assert web.audit.lines == [
        ("radiology", "submit", None, "unknown-service"),
        ("holder of the token", "read result", ticket["id"], "200"),
        ("holder of the token", "read result", ticket["id"], "206"),
    ]


def test_a_repeated_request_gets_the_same_ticket_and_a_token_that_works(open_web):
    once = {"Idempotency-Key": "3fa85f64-5717-4562-b3fc-2c963f66afa6"}
    first, second = (open_web.post(headers=once).get_json() for _ in range(2))
    assert first["id"] == second["id"]
    assert first["token"] != second["token"]
    for ticket in (first, second):
        assert open_web.client.get(ticket["links"]["status"]).status_code == 200
    assert len(list(open_web.storage.tickets.iterdir())) == 1, "the second upload left nothing"


def test_an_idempotency_key_is_for_one_payload(open_web):
    once = {"Idempotency-Key": "mine"}
    ticket = open_web.post(headers=once).get_json()
    other = packed(main={"f1": 3, "f2": 4})
    problem = problem_of(open_web.post(other, headers=once), 422, "idempotency-key-reused")
    assert "choose a new one" in problem["detail"]
    assert len(list(open_web.storage.tickets.iterdir())) == 1
    assert open_web.store.tickets[ticket["id"]].later_token_hashes == ()


@pytest.mark.parametrize("sent", ["", "x" * 256, "a\tb"])
def test_an_idempotency_key_that_is_none_is_refused(open_web, sent):
    problem_of(open_web.post(headers={"Idempotency-Key": sent}), 400, "invalid-request")


def test_without_an_idempotency_key_the_same_payload_is_a_new_request(open_web):
    first, second = (open_web.post().get_json() for _ in range(2))
    assert first["id"] != second["id"]


def wrong(web, *, address="203.0.113.9", key="wrong", path=None):
    how = {"headers": {"X-API-Key": key}, "environ_overrides": {"REMOTE_ADDR": address}}
    return web.client.get(path, **how) if path else web.client.post("/request", data={}, **how)


@pytest.mark.parametrize("path", [None, "/queues", "/metrics"])
def test_an_address_may_try_few_wrong_keys_within_a_minute(web, path):
    right = web.keys.make("radiology", operator=True)
    assert [wrong(web, path=path).status_code for _ in range(5)] == [401] * 5
    asked = len(web.keys.asked)
    answer = wrong(web, path=path)
    problem_of(answer, 429, "busy")
    assert answer.headers["Retry-After"] == "60"
    assert wrong(web, path=path, key=right).status_code == 429, "it was not seen before, so that nobody looks"
    assert len(web.keys.asked) == asked, "the database is not asked any more"
    assert wrong(web, path=path, address="203.0.113.10").status_code == 401


def test_a_key_that_was_right_is_let_in_from_an_address_that_tries_wrong_ones(web):
    right = web.keys.make("radiology")
    assert wrong(web, key=right).status_code == 415
    for _ in range(9):
        wrong(web)
    assert wrong(web, key=right).status_code == 415
    del web.keys.keys[right]  # revoked
    assert wrong(web, key=right).status_code == 401
    assert wrong(web, key=right).status_code == 429


def test_a_new_minute_forgets_wrong_keys(web, monkeypatch):
    for _ in range(9):
        wrong(web)
    now = time.monotonic()
    monkeypatch.setattr("tomaat.web.http.wrong_keys.time.monotonic", lambda: now + 61)
    assert wrong(web).status_code == 401


def test_a_proxy_that_does_not_say_for_whom_it_speaks_is_not_bounded(tmp_path):
    web = Web(tmp_path, keys_needed=True, proxies=["127.0.0.1"])
    assert [wrong(web, address="127.0.0.1").status_code for _ in range(9)] == [401] * 9
    web.close()
