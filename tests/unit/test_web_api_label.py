"""The label of a ticket, from the form to those who may see it."""

import json
import re

import pytest
import structlog

from Inputs import StringInput, VolumeInput
from tests.unit.fake_store import GOOD, Web, offered
from tests.unit.test_web_api_form import TYPE, part
from tomaat.tickets.states import RUNNING, SUCCEEDED
from tomaat.web.api.label import LABEL_SCHEMA, read_label
from tomaat.web.http.problems import Problem

NAME = "Müller, Anna – T1.nii.gz"


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


def send(web, *parts, headers=None):
    body = b"".join(parts) + b"--edge--\r\n"
    return web.client.post("/request", data=body, headers={"Content-Type": TYPE, **(headers or {})})


ADD = (part("service", b"FloatComputation"), part("f1", b"1"), part("f2", b"2"))
PACKED = (part("service", b"FloatComputation"), part("payload", GOOD, filename="payload.tar.gz"))


def label_of(web, ticket):
    return web.client.get(ticket["links"]["status"]).get_json()["label"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        *((NAME, NAME), ("  head 7 ", "head 7"), (" ", None), ("ü" * 100, "ü" * 100)),
        *((f" {'x' * 100} ", "x" * 100), ("عل\u200cی", "عل\u200cی")),
    ],
)
def test_a_label_is_one_line_in_any_alphabet(sent, kept):
    assert read_label(sent.encode()) == kept
    assert re.search(LABEL_SCHEMA["pattern"], sent)
    assert read_label(None) is None


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"x" * 101, "too-long"),
        (b"first\nsecond", "control-character"),
        (b"nul\0", "control-character"),
        (b"at the end\n", "control-character"),
        ("\u2028at the begin".encode(), "control-character"),
        ("\u200b".encode(), "control-character"),
        ("turned \u202e round".encode(), "control-character"),
        ("line\u2028".encode() + b"s", "control-character"),
        (b"M\xfcller", "not-utf-8"),
    ],
)
def test_a_label_that_cannot_be_shown_in_a_line_is_refused_and_not_repeated(sent, code):
    with pytest.raises(Problem) as caught:
        read_label(sent)
    assert (caught.value.status, [error["code"] for error in caught.value.errors]) == (400, [code])
    assert caught.value.detail.startswith("label: it ")
    assert not {"first", "turned", "ller", "xxx"} & set(re.findall(r"\w+", caught.value.detail))
    if code == "control-character":
        assert not re.search(LABEL_SCHEMA["pattern"].replace("$", r"\Z"), sent.decode()), "$ as JavaScript has it"


@pytest.mark.parametrize("fields", [ADD, PACKED])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_both_ways_take_a_label_wherever_it_stands_and_the_status_tells_it(web, fields, place):
    parts = [*fields[:place], part("label", NAME.encode()), *fields[place:]]
    answer = send(web, *parts)
    assert answer.status_code == 202, answer.get_json()
    assert label_of(web, answer.get_json()) == NAME
    assert label_of(web, send(web, *fields).get_json()) is None


def test_a_refused_label_leaves_nothing_of_the_upload(web):
    for fields in (ADD, PACKED):
        assert send(web, *fields, part("label", b"x" * 101)).get_json()["errors"][0]["code"] == "too-long"
        assert send(web, *fields, part("label", b"a"), part("label", b"b")).get_json()["errors"][0]["code"] == (
            "doubled-field"
        )
    assert web.uploads_left() == []
    assert web.store.tickets == {}


def test_an_input_of_that_id_comes_before_the_label(web):
    web.store.services = [
        offered("Tag", [StringInput("label", "Label", longest=500), VolumeInput("scan", "Scan", required=False)])
    ]
    answer = send(web, part("service", b"Tag"), part("label", b"a value " * 20))
    ticket = answer.get_json()
    assert label_of(web, ticket) is None
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder).inputs
    assert json.loads((folder / "main.json").read_text())["inputs"] == {"label": "a value " * 20}
    refused = send(web, part("service", b"Tag"), part("label", b"x" * 501))
    assert (refused.status_code, refused.get_json()["errors"][0]["code"]) == (422, "too-long")
    refused = send(web, part("service", b"Tag"), part("label", b"x" * 2**21))
    assert (refused.status_code, refused.get_json()["errors"][0]["code"]) == (413, "too-large")
    key = {"Idempotency-Key": "one"}
    assert send(web, part("service", b"Tag"), part("label", b"this"), headers=key).status_code == 202
    assert send(web, part("service", b"Tag"), part("label", b"that"), headers=key).status_code == 422, "another request"


def test_a_repeated_request_keeps_its_first_label(web):
    key = {"Idempotency-Key": "mine"}
    first = send(web, *ADD, part("label", b"first"), headers=key).get_json()
    again = send(web, *ADD, part("label", b"second"), headers=key)
    assert (again.status_code, again.get_json()["id"]) == (202, first["id"])
    assert label_of(web, again.get_json()) == "first"


def test_where_labels_are_switched_off_the_field_is_taken_and_not_kept(tmp_path):
    web = Web(tmp_path, keep_labels=False)
    ticket = send(web, *PACKED, part("label", NAME.encode())).get_json()
    assert label_of(web, ticket) is None
    assert web.store.tickets[ticket["id"]].label is None
    assert [service["takes_label"] for service in web.client.get("/supportedservices").get_json()] == [False, False]
    web.close()


def test_a_label_is_told_no_longer_where_a_running_ticket_was_given_up(web):
    ticket = send(web, *ADD, part("label", NAME.encode())).get_json()
    web.store.change(ticket["id"], state=RUNNING)
    assert web.client.delete(ticket["links"]["cancel"]).get_json()["label"] is None
    web.store.change(ticket["id"], state=SUCCEEDED)  # its result was there first
    assert label_of(web, ticket) is None


def test_a_label_is_told_no_longer_once_its_holder_wants_the_files_deleted(web):
    ticket = send(web, *ADD, part("label", NAME.encode())).get_json()
    web.succeed(ticket)
    assert label_of(web, ticket) == NAME
    assert web.client.delete(ticket["links"]["cancel"]).get_json()["label"] is None
    assert label_of(web, ticket) is None


def test_a_label_is_told_to_its_holder_alone(web):
    key = {"X-API-Key": web.keys.make("olga", operator=True)}
    with structlog.testing.capture_logs() as lines:
        ticket = send(web, *ADD, part("label", NAME.encode())).get_json()
        web.client.get(ticket["links"]["status"])
        others = [web.client.get(path, headers=key) for path in ("/metrics", "/queues", "/supportedservices")]
    assert [answer.status_code for answer in others] == [200, 200, 200]
    told = [answer.get_data(as_text=True) for answer in others]
    assert "Anna" not in str(lines) + "".join(told) + str(ticket) + str(web.audit.lines)
    assert "Anna" not in repr(web.store.tickets), "what a log or a traceback may show"
