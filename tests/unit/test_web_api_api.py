import dataclasses
import errno
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile_archives import HOSTILE
from tests.hostile_images import HOSTILE as HOSTILE_IMAGES
from tests.unit.fake_store import GOOD, LINE, MIB, SMOOTH, Web, offered, packed
from tomaat.archives import ArchiveLimits
from tomaat.tickets.states import CANCELLED, EXPIRED, FAILED, QUEUED, RUNNING, STATES, SUBMITTED, SUCCEEDED
from tomaat.web.http.problems import EXPLANATIONS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


def wrapped(file, block_size):
    """Stand in for the server's file wrapper."""
    data = file.read()
    file.close()
    return [data]


FILE_WRAPPER = {"wsgi.file_wrapper": wrapped}


@pytest.fixture
def get(web):
    return lambda path, **headers: web.client.get(path, headers=headers, environ_overrides=FILE_WRAPPER)


def problem_of(answer, status, slug):
    """The answer's problem, checked for its form."""
    assert answer.status_code == status, answer.get_data()
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json()
    assert problem["type"] == f"/problems/{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


# Submitting


def test_a_good_upload_becomes_a_ticket_with_its_files_in_place(web):
    answer = web.post()
    ticket = answer.get_json()
    assert answer.status_code == 202
    assert list(ticket) == ["id", "token", "service", "state", "links"]
    assert answer.headers["Location"] == ticket["links"]["status"] == f"/status/{ticket['id']}&{ticket['token']}"
    assert answer.headers["Retry-After"] == "1"
    row = web.store.tickets[ticket["id"]]
    assert row.interface_hash == "FloatComputation-1"
    assert json.loads((web.storage.folder_of(row.folder).inputs / "main.json").read_bytes()) == {
        "inputs": {"f1": 1, "f2": 2}
    }
    assert web.uploads_left() == []


def test_a_token_is_32_random_bytes_and_only_its_hash_is_stored(web):
    tokens = {web.submit()["token"] for _ in range(5)}
    assert len(tokens) == 5
    assert all(len(token) == 43 for token in tokens)
    assert not any(token.encode() in repr(web.store.tickets).encode() for token in tokens)


def test_every_refused_input_is_told_in_one_answer(web):
    answer = web.post(packed(main={"f1": 1, "f2": "abc", "op": "div"}))
    problem = problem_of(answer, 422, "invalid-inputs")
    assert problem["detail"] == "2 of 3 inputs were refused."
    assert problem["errors"] == [
        {"input": "f2", "code": "not-a-number", "detail": "f2: 'abc' is not a number."},
        {"input": "op", "code": "not-a-choice", "detail": "op: 'div' is none of add, multiply."},
    ]
    assert web.uploads_left() == []
    assert web.store.tickets == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_gets_a_problem_and_leaves_nothing(web, name):
    make, code = HOSTILE[name]
    answer = web.post(make())
    assert answer.status_code in {400, 413, 415}
    assert answer.get_json()["errors"][0]["code"] == code
    assert web.uploads_left() == []
    assert list(web.storage.tickets.iterdir()) == []


def test_what_is_not_gzip_is_415(web):
    problem_of(web.post(b"PK\x03\x04 a zip"), 415, "not-gzip")


def test_an_unknown_service_is_404_and_names_what_there_is(web):
    problem = problem_of(web.post(service="Div"), 404, "unknown-service")
    assert problem["detail"] == "service: 'Div' is not offered here; offered are: FloatComputation, GaussianSmoothing."
    assert web.uploads_left() == []


def test_while_nothing_was_ever_offered_a_request_is_asked_to_come_again(web):
    web.store.services = []
    answer = web.post(service="FloatComputation")
    problem = problem_of(answer, 503, "not-offered-yet")
    assert "not offered yet: no TaskScheduling has loaded any network." in problem["detail"]
    assert answer.headers["Retry-After"] == "5"


def test_a_service_may_be_among_those_that_are_still_being_loaded(web):
    web.store.loading = True
    answer = web.post(service="Div")
    problem = problem_of(answer, 503, "not-offered-yet")
    assert "'Div' is not offered yet: networks are still being loaded; offered are: Float" in problem["detail"]
    assert answer.headers["Retry-After"] == "5"
    assert web.uploads_left() == []


def test_a_service_is_asked_for_as_soon_as_it_has_loaded(web):
    web.api.services.seconds = 3600.0
    services, web.store.services = web.store.services, []
    assert web.client.get("/supportedservices").get_json() == []
    web.store.services = services
    assert web.post().status_code == 202


def test_for_an_unknown_service_named_first_nothing_is_unpacked(web, monkeypatch):
    written = []
    monkeypatch.setattr("os.write", lambda _, data: written.append(data))
    problem_of(web.post(service="Div"), 404, "unknown-service")
    assert written == []


def test_a_service_whose_sources_are_away_still_takes_tickets(web):
    voxels = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n\n" + bytes(8)
    answer = web.post(packed(main={"sigma": 1}, scan_nrrd=voxels), service="GaussianSmoothing")
    assert answer.status_code == 202, answer.get_data()


def test_a_claimed_length_beyond_the_limit_is_413_before_anything_is_read(web):
    class Unread(io.BytesIO):
        def read(self, *_):
            raise AssertionError("the body was read")

    answer = web.client.post(
        "/request",
        input_stream=Unread(),
        environ_overrides={"CONTENT_LENGTH": str(9 * MIB)},
        content_type="multipart/form-data; boundary=x",
    )
    problem_of(answer, 413, "too-large")


def test_a_payload_beyond_a_limit_is_413(tmp_path):
    web = Web(tmp_path, limits=ArchiveLimits(largest_upload_bytes=8 * MIB, largest_unpacked_bytes=1000))
    problem_of(web.post(packed(main={"f1": 1, "f2": 2, "x": "y" * 2000})), 413, "too-large")
    web.close()


def test_a_full_queue_is_503_before_anything_is_unpacked(tmp_path):
    web = Web(tmp_path, longest_queue=3)
    web.store.waiting = 3
    answer = web.post()
    problem_of(answer, 503, "queue-full")
    assert int(answer.headers["Retry-After"]) > 0
    web.store.waiting = 2
    assert web.post().status_code == 202
    web.close()


def test_a_volume_that_no_reader_may_hold_is_refused_at_the_upload(web):
    payload = packed(main={"sigma": 1}, scan_mha=HOSTILE_IMAGES["mha-8-gb"][1])
    error = problem_of(web.post(payload, "GaussianSmoothing"), 422, "invalid-inputs")["errors"][0]
    assert (error["input"], error["code"]) == ("scan", "too-large")
    assert f"at most {2**30} are taken" in error["detail"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["os.write", "os.fsync", "pathlib.Path.mkdir"])
def test_a_full_disk_is_507_and_nothing_is_left(web, monkeypatch, number, where):
    def full(*_, **__):
        raise OSError(number, "full of patients")

    monkeypatch.setattr(where, full)
    answer = web.post()
    monkeypatch.undo()
    assert "patients" not in answer.get_data(as_text=True)
    problem_of(answer, 507, "storage-full")
    assert web.uploads_left() == []
    assert web.store.tickets == {}
    assert web.post().status_code == 202


def test_without_the_database_every_address_of_a_ticket_is_503_and_tells_no_secret(web):
    ticket = web.submit()
    web.store.down = True
    for answer in (
        web.post(),
        web.client.get(ticket["links"]["status"]),
        web.client.get(ticket["links"]["result"]),
        web.client.delete(ticket["links"]["cancel"]),
        web.client.get("/supportedservices"),
    ):
        problem_of(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
        assert b"secret" not in answer.get_data()


def test_without_the_database_only_what_changes_something_may_have_arrived(web):
    ticket = web.submit()
    web.store.down = True
    asked, cancelled = web.client.get(ticket["links"]["status"]), web.client.delete(ticket["links"]["cancel"])
    assert asked.get_json()["detail"] == "The server's database does not answer now."
    for changing in (web.post(), cancelled):
        assert "whether a request arrived is unknown: look, or send it again." in changing.get_json()["detail"]


def test_an_upload_whose_row_is_unknown_keeps_its_files(web, monkeypatch):
    monkeypatch.setattr(web.store, "submit", lambda _: web.store.__setattr__("down", True) or web.store._demand())
    problem_of(web.post(), 503, "unavailable")
    assert len(list(web.storage.tickets.iterdir())) == 1


# Who may see what


def test_the_token_is_taken_in_the_path_percent_encoded_or_as_bearer(web):
    ticket = web.submit()
    for path, headers in (
        (f"/status/{ticket['id']}&{ticket['token']}", {}),
        (f"/status/{ticket['id']}%26{ticket['token']}", {}),
        (f"/status/{ticket['id']}", {"Authorization": f"Bearer {ticket['token']}"}),
        (f"/status/{ticket['id']}", {"Authorization": f"bearer {ticket['token']}"}),
    ):
        answer = web.client.get(path, headers=headers)
        assert answer.status_code == 200, path
        assert answer.get_json()["id"] == ticket["id"]


def test_the_links_of_a_bearers_status_hold_no_token(web):
    ticket = web.submit()
    answer = web.client.get(f"/status/{ticket['id']}", headers={"Authorization": f"Bearer {ticket['token']}"})
    assert answer.get_json()["links"]["result"] == f"/result/{ticket['id']}"
    assert ticket["token"] not in answer.get_data(as_text=True)


def wrong_ways(ticket):
    id, token = ticket["id"], ticket["token"]
    yield from (
        f"{id}",
        f"{id}&",
        f"{id}&x",
        f"{id}&{token[:-1]}",
        f"{id}&{token}x",
        f"{id}& {token}",
        f"{id}&&{token}",
    )
    yield from (f"{id + 1}&{token}", f"0{id}&{token}", f"+{id}&{token}", f"-{id}&{token}", f"{id}.0&{token}")
    yield from (f"{2**63}&{token}", f"{2**63 - 1}&{token}", f"{'9' * 5000}&{token}", f"0&{token}", f"&{token}", token)
    yield from (
        f"{id}&{token}/",
        f"{id}/{token}",
        "\u0661&x",
        "%FF&x",
        f"{id}%00&{token}",
        f"{id}%2526{token}",
    )


def test_a_wrong_id_and_a_wrong_token_get_the_same_404_byte_for_byte(web):
    ticket = web.submit()
    for call, route in ((web.client.get, "status"), (web.client.get, "result"), (web.client.delete, "request")):
        answers = [call(f"/{route}/{wrong}") for wrong in wrong_ways(ticket)]
        assert {answer.status_code for answer in answers} == {404}
        assert len({(answer.get_data(), str(sorted(answer.headers))) for answer in answers}) == 1
    assert web.store.tickets[ticket["id"]].state == SUBMITTED


def test_a_wrong_bearer_gets_the_same_404(web):
    ticket = web.submit()
    right = web.client.get("/status/1&x").get_data()
    for header in ("", "Bearer", "Bearer x", f"Basic {ticket['token']}", ticket["token"], "Bearer \xff", "Basic :"):
        answer = web.client.get(f"/status/{ticket['id']}", headers={"Authorization": header})
        assert (answer.status_code, answer.get_data()) == (404, right)


def test_a_wrong_token_costs_the_same_look_as_an_unknown_id(web):
    ticket = web.submit()
    asked = []
    web.store.find = lambda number: asked.append(number) or web.store.tickets.get(number)
    for wrong in (f"{ticket['id']}&x", f"{ticket['id'] + 7}&x", "nonsense"):
        web.client.get(f"/status/{wrong}")
    assert len(asked) == 3


def test_nothing_redirects_a_token_to_another_address(web):
    ticket = web.submit()
    for path in (f"//status/{ticket['id']}&{ticket['token']}", f"/status//{ticket['id']}&{ticket['token']}"):
        assert web.client.get(path).status_code == 404


def test_every_answer_has_the_headers_that_keep_it_private(web):
    ticket = web.submit()
    answers = [
        web.post(),
        web.post(b""),
        web.client.get(ticket["links"]["status"]),
        web.client.get("/status/1&x"),
        web.client.get("/nowhere"),
        web.client.put("/request"),
        web.client.get("/openapi.json"),
    ]
    for answer in answers:
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_log_has_one_line_per_request_and_no_path_token_or_name(web, get):
    ticket = web.submit()
    web.succeed(ticket)
    with structlog.testing.capture_logs() as lines:
        web.client.get(ticket["links"]["status"] + "?patient=Doe")
        web.client.get("/static/main.js?patient=Doe").close()
        get(ticket["links"]["result"])
        web.client.get("/status/1&" + "secretsecret")
        web.client.open("/request/Doe", method="DOE")
        web.post(packed(main={"f1": "Doe"}, Doe_nii=b"Doe"))
        web.client.delete(ticket["links"]["cancel"])
    answered = [line for line in lines if line["event"] == "request.answered"]
    assert len(answered) == 7
    assert [line["log_level"] for line in answered] == ["debug"] * 3 + ["info"] * 3 + ["debug"]
    assert [line.get("problem") for line in answered[3:6]] == ["not-found", "method-not-allowed", "invalid-inputs"]
    assert answered[0] | {"milliseconds": 0} == {
        "event": "request.answered",
        "log_level": "debug",
        "route": "/status/<path:reference>",
        "method": "GET",
        "status": 200,
        "milliseconds": 0,
        "ticket": ticket["id"],
    }
    text = str(lines)
    assert not any(secret in text for secret in (ticket["token"], "Doe", "DOE", "secretsecret"))


def test_polling_that_goes_well_is_no_line_of_the_log_and_what_fails_is_one(web):
    ticket = web.submit(state=QUEUED)
    link = ticket["links"]
    quiet = [link["status"], link["result"], "/supportedservices", "/", "/static/page.css", "/health/live"]
    told = ["/static/none.js", "/status/1&x", "/result/1&x", "/queues", link["status"] + "?wait=x", "/none"]
    for path in quiet + told:
        with structlog.testing.capture_logs() as lines:
            web.client.get(path).close()
        levels = [line["log_level"] for line in lines if line["event"] == "request.answered"]
        assert levels == ["debug" if path in quiet else "info"], path
    with structlog.testing.capture_logs() as lines:
        web.client.delete(link["cancel"])
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("ticket.given_up", "info"),
        ("request.answered", "debug"),
    ], "what was done has a line of its own"


def test_a_crash_tells_the_client_a_reference_and_the_log_the_place_but_neither_the_text(web, monkeypatch):
    name = "Jane Doe"

    def crash(*_):
        raise ValueError(name)

    monkeypatch.setattr(web.store, "find", crash)
    with structlog.testing.capture_logs() as lines:
        answer = web.client.get("/status/1&x")
    problem = problem_of(answer, 500, "internal-error")
    crashed = next(line for line in lines if line["event"] == "request.crashed")
    assert crashed["reference"] in problem["detail"]
    assert any("test_web_api_api.py" in line for line in crashed["frames"])
    assert "Jane" not in str(lines) + answer.get_data(as_text=True)


# Status


def test_a_status_has_exactly_the_fields_of_the_protocol(web):
    ticket = web.submit(state=QUEUED, source="here/gpu-0", claim=1)
    answer = web.client.get(ticket["links"]["status"])
    assert answer.headers["Retry-After"] == "1"
    assert answer.get_json() == {
        "id": ticket["id"],
        "label": None,
        "service": "FloatComputation",
        "priority": "normal",
        "state": "queued",
        "position": 3,
        "compute_source": "here/gpu-0",
        "progress": None,
        "stage": None,
        "claim": 1,
        "created": "2026-01-02T03:04:05.678Z",
        "started": None,
        "finished": None,
        "eta_seconds": 12.3,
        "why_waiting": None,
        "error": None,
        "links": ticket["links"],
    }


def test_a_queue_that_starts_nothing_promises_no_time_and_says_why(web):
    ticket = web.submit(state=QUEUED, source="here/gpu-0")
    web.store.line = dataclasses.replace(LINE, drained=True)
    status = web.client.get(ticket["links"]["status"]).get_json()
    assert (status["position"], status["eta_seconds"]) == (3, None)
    assert status["why_waiting"] == "here/gpu-0 is drained."
    services = {service["name"]: service for service in web.client.get("/supportedservices").get_json()}
    assert services["FloatComputation"]["why_unavailable"] is None, "it is available"
    assert services["GaussianSmoothing"]["why_unavailable"] == "No compute source takes it now: here/gpu-1 is drained."


def test_the_places_of_all_tickets_are_read_once_for_all_who_ask_in_a_moment(web):
    tickets = [web.submit(state=QUEUED, source="here/gpu-0") for _ in range(10)]
    web.api.lines.seconds = 3600.0
    for ticket in tickets * 5:
        assert web.client.get(ticket["links"]["status"]).get_json()["position"] == 3
    assert web.store.readings == 1


def test_a_poll_of_an_ended_ticket_reads_no_line(web):
    ticket = web.submit()
    web.succeed(ticket)
    web.client.get(ticket["links"]["status"])
    assert web.store.readings == 0


def test_an_ended_ticket_asks_nobody_to_come_again(web):
    ticket = web.submit()
    web.succeed(ticket)
    assert "Retry-After" not in web.client.get(ticket["links"]["status"]).headers


@pytest.mark.parametrize(
    "query",
    [
        *("wait=x", "wait=-1", "wait=nan", "wait=inf", "wait=31", "wait=", "wait=1_0", "wait=\u0661", "wait=%201"),
        *("wait=1e9999", "state=x", "wait=1&state="),
    ],
)
def test_a_wait_that_cannot_be_is_400(web, query):
    ticket = web.submit()
    problem_of(web.client.get(f"{ticket['links']['status']}?{query}"), 400, "invalid-request")


@pytest.mark.parametrize("wait", ["0", "-0.0", "0.01", "1e-2", "5E-324"])
def test_a_wait_is_a_number_as_json_has_them(web, wait):
    assert web.client.get(f"{web.submit()['links']['status']}?wait={wait}").status_code == 200


def test_a_wait_ends_when_the_state_is_left(web):
    ticket = web.submit(state=QUEUED)
    began = time.monotonic()
    assert web.client.get(f"{ticket['links']['status']}?wait=20&state=running").get_json()["state"] == QUEUED
    threading.Timer(0.3, web.store.change, [ticket["id"]], {"state": RUNNING}).start()
    assert web.client.get(f"{ticket['links']['status']}?wait=20&state=queued").get_json()["state"] == RUNNING
    assert 0.3 <= time.monotonic() - began < 5


def test_a_wait_without_a_state_ends_with_the_ticket(web):
    ticket = web.submit(state=QUEUED)
    threading.Timer(0.2, web.store.change, [ticket["id"]], {"state": RUNNING}).start()
    threading.Timer(0.4, web.fail, [ticket], {"type": "/problems/worker-died"}).start()
    began = time.monotonic()
    assert web.client.get(f"{ticket['links']['status']}?wait=20").get_json()["state"] == FAILED
    assert 0.4 <= time.monotonic() - began < 5


def test_a_wait_whose_seconds_are_over_answers_as_it_stands(web):
    ticket = web.submit()
    answer = web.client.get(f"{ticket['links']['status']}?wait=0.1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (200, "1")
    problem_of(web.client.get(f"{ticket['links']['result']}?wait=0.1"), 409, "not-ready")


# Result


def test_a_result_comes_whole_with_its_headers(web, get):
    ticket = web.submit()
    web.succeed(ticket, b"0123456789")
    answer = get(ticket["links"]["result"])
    assert (answer.status_code, answer.get_data()) == (200, b"0123456789")
    assert answer.content_type == "application/gzip"
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["ETag"] == '"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="FloatComputation-{ticket["id"]}.tar.gz"'


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "body"),
    [
        ("bytes=0-3", 206, "bytes 0-3/10", b"0123"),
        ("bytes=4-", 206, "bytes 4-9/10", b"456789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=8-99", 206, "bytes 8-9/10", b"89"),
        ("bytes=-99", 206, "bytes 0-9/10", b"0123456789"),
        ("bytes=-0", 416, "bytes */10", None),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=99-100", 416, "bytes */10", None),
        ("bytes=0-1,3-4", 200, None, b"0123456789"),
        ("bytes=a-b", 200, None, b"0123456789"),
        ("bytes=" + "9" * 6000 + "-", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
        ("", 200, None, b"0123456789"),
    ],
)
def test_single_ranges_are_sent_and_the_rest_is_ignored_or_refused(web, wanted, status, content_range, body):
    ticket = web.submit()
    web.succeed(ticket, b"0123456789")
    answer = web.client.get(
        ticket["links"]["result"],
        headers={"Range": wanted},
        environ_overrides=FILE_WRAPPER,
    )
    assert answer.status_code == status
    assert answer.headers.get("Content-Range") == content_range
    if status == 416:
        problem_of(answer, 416, "range")
    else:
        length = int(answer.headers["Content-Length"])
        assert length == len(body)
        assert answer.get_data()[:length] == body  # waitress stops at Content-Length


def test_conditions_are_honoured(web, get):
    ticket = web.submit()
    web.succeed(ticket, b"0123456789")
    result = ticket["links"]["result"]
    etag = get(result).headers["ETag"]
    assert get(result, **{"If-None-Match": etag}).status_code == 304
    assert get(result, **{"If-None-Match": f'"x", {etag}'}).get_data() == b""
    assert get(result, **{"If-None-Match": '"x"'}).status_code == 200
    assert get(result, **{"Range": "bytes=0-3", "If-Range": etag}).status_code == 206
    assert get(result, **{"Range": "bytes=0-3", "If-Range": '"x"'}).status_code == 200
    assert get(result, **{"If-Match": etag}).status_code == 200
    assert get(result, **{"If-Match": "*"}).status_code == 200
    problem_of(get(result, **{"If-Match": '"x"'}), 412, "changed")


def test_head_has_the_headers_and_no_body(web):
    ticket = web.submit()
    web.succeed(ticket, b"0123456789")
    answer = web.client.head(ticket["links"]["result"])
    assert (answer.status_code, answer.headers["Content-Length"], answer.get_data()) == (200, "10", b"")
    assert web.client.head(ticket["links"]["status"]).status_code == 200
    assert web.store.fetched == []


@pytest.mark.parametrize(
    ("changes", "status", "slug"),
    [
        ({"state": SUBMITTED}, 409, "not-ready"),
        ({"state": QUEUED}, 409, "not-ready"),
        ({"state": RUNNING}, 409, "not-ready"),
        ({"state": CANCELLED}, 409, "cancelled"),
        ({"state": EXPIRED}, 410, "expired"),
        ({"state": SUCCEEDED, "files_removed": True}, 410, "expired"),
        ({"state": SUCCEEDED, "result_sha256": "0" * 64, "result_bytes": 1}, 410, "expired"),
    ],
)
def test_a_result_that_is_not_there_is_never_an_archive(web, get, changes, status, slug):
    ticket = web.submit(**changes)
    answer = get(ticket["links"]["result"])
    problem_of(answer, status, slug)
    assert ("Retry-After" in answer.headers) == (slug == "not-ready")
    assert web.client.get(ticket["links"]["status"]).status_code == 200


def test_a_failed_tickets_result_is_its_own_problem(web, get):
    ticket = web.submit()
    errors = [{"input": "scan", "code": "empty", "detail": "scan: holds no voxels."}]
    web.fail(ticket, type="/problems/refused", title="The task refused", detail="Because.", errors=errors)
    problem = problem_of(get(ticket["links"]["result"]), 409, "refused")
    assert (problem["title"], problem["detail"], problem["errors"]) == ("The task refused", "Because.", errors)
    assert web.client.get(ticket["links"]["status"]).get_json()["error"]["detail"] == "Because."


# Cancelling


def test_a_waiting_ticket_is_cancelled_at_once_and_again(web):
    ticket = web.submit(state=QUEUED)
    for _ in range(2):
        answer = web.client.delete(ticket["links"]["cancel"])
        assert (answer.status_code, answer.get_json()["state"]) == (200, "cancelled")


def test_a_running_ticket_is_asked_to_stop(web):
    ticket = web.submit(state=RUNNING)
    for _ in range(2):
        answer = web.client.delete(ticket["links"]["cancel"])
        assert (answer.status_code, answer.get_json()["state"]) == (202, "running")
    assert web.store.tickets[ticket["id"]].cancel_requested


def test_a_finished_ticket_can_be_deleted(web):
    ticket = web.submit()
    web.succeed(ticket)
    assert web.client.delete(ticket["links"]["cancel"]).status_code == 202
    problem = problem_of(web.client.get(ticket["links"]["result"]), 410, "expired")
    assert "deleted at its client's wish" in problem["detail"]
    web.store.change(ticket["id"], files_removed=True)
    assert web.client.delete(ticket["links"]["cancel"]).status_code == 200


# The rest


def test_the_services_are_listed_as_the_protocol_says(web):
    texts = {"intended_use": "For phantoms.", "reference": "A book", "contact": "somebody@lab.org"}
    web.store.services = [dataclasses.replace(offered("Smooth", SMOOTH, available=False), **texts)]
    (service,) = web.client.get("/supportedservices").get_json()
    assert (service["name"], service["version"], service["available"]) == ("Smooth", "1", False)
    assert service["interface"]["scan"]["store"] == "file"
    assert service["interface"]["sigma"]["unit"] == "mm"
    assert service["memory_bytes"] == {"here/GPU-aaa": 5 * 1024**3}
    assert (service["trial"], service["intended_use"], service["licence"]) == (False, "For phantoms.", "")
    assert (service["reference"], service["contact"]) == ("A book", "somebody@lab.org")
    assert service["takes_label"] is True


def test_a_service_tells_how_long_its_queue_is_and_how_to_try_it(web):
    add, smooth = web.client.get("/supportedservices").get_json()
    assert (add["waiting"], add["wait_seconds"], add["example"]) == (2, 12.3, {"f1": 2.5})
    assert (smooth["waiting"], smooth["wait_seconds"], smooth["example"]) == (None, None, {})


def test_many_looks_at_the_services_cost_one_query_each(web):
    web.api.services.seconds = web.api.ahead.seconds = 30
    asked = []
    web.api.services.read = lambda: asked.append("services") or web.store.services
    web.api.ahead.read = lambda: asked.append("ahead") or {}
    for _ in range(5):
        assert len(web.client.get("/supportedservices").get_json()) == 2
    assert sorted(asked) == ["ahead", "services"]


def test_an_address_that_is_not_there_is_a_problem(web):
    problem_of(web.client.get("/nowhere"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/request", {"POST"}),
        ("POST", "/status/1&x", {"GET", "HEAD"}),
        ("GET", "/request/1&x", {"DELETE"}),
        ("OPTIONS", "/request", {"POST"}),
        ("DELETE", "/supportedservices", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_is_not_taken_is_405_with_those_that_are(web, method, path, allowed):
    answer = web.client.open(path, method=method)
    problem_of(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_every_kind_of_problem_has_an_address_that_explains_it(web):
    answer = web.client.get("/problems/not-ready")
    assert (answer.status_code, answer.get_json()["type"]) == (200, "/problems/not-ready")
    problem_of(web.client.get("/problems/nothing"), 404, "not-found")


def test_the_index_leads_on(web):
    for path in web.client.get("/").get_json()["links"].values():
        assert web.client.get(path).status_code == 200


@settings(max_examples=50, deadline=None)
@given(
    path=st.text(max_size=40), query=st.text(max_size=40), method=st.sampled_from(["GET", "POST", "DELETE", "PATCH"])
)
def test_no_path_crashes_the_service(path, query, method):
    for route in ("status", "result", "request", "problems"):
        environ = {
            "PATH_INFO": f"/{route}/{path}".encode().decode("latin-1"),
            "QUERY_STRING": query.encode().decode("latin-1"),
        }
        answer = SHARED.client.open("/", method=method, environ_overrides=environ)
        assert answer.status_code in {404, 405} or (route == "problems" and path in EXPLANATIONS)


@pytest.fixture(scope="module", autouse=True)
def _shared(tmp_path_factory):
    global SHARED  # noqa: PLW0603 (Hypothesis' examples share one application)
    SHARED = Web(tmp_path_factory.mktemp("shared"))
    yield
    SHARED.close()


def test_the_web_room_loads_nothing_heavy():
    program = (
        "import sys, tomaat.web.http.app, tomaat.web.http.serve; print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "flask" in loaded
    assert not {"torch", "numpy", "SimpleITK", "CustomTasks"} & set(loaded)


def test_states_of_the_api_are_the_states_of_tickets(web):
    assert web.client.get("/openapi.json").get_json()["components"]["schemas"]["Status"]["properties"]["state"][
        "enum"
    ] == list(STATES)


def test_who_waits_for_a_ticket_at_once_is_known_by_its_token_alone(web, get):
    ticket = web.post(GOOD).get_json()
    link = ticket["links"]["result"]
    before = web.store.finds
    web.succeed(ticket)
    assert get(f"{link}?wait=20").status_code == 200
    assert web.store.finds == before, "the row that was inserted is known"
    other = web.post(GOOD).get_json()
    wrong = link.replace(f"/{ticket['id']}&", f"/{other['id']}&")
    assert web.client.get(f"{wrong}?wait=20").status_code == 404
