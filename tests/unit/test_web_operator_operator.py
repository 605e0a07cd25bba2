"""Who is an operator, what one sees, and what one does."""

import io
import json

import pytest

from tests.unit.fake_store import Web
from tests.unit.test_web_page_documents import OF_BROWSERS, STATIC, rules_of
from tomaat.tickets.states import CANCELLED, FAILED, RUNNING, SUBMITTED, SUCCEEDED

ACTS = {
    "drain": {"source": "here/GPU-aaa"},
    "resume": {"source": "here/GPU-aaa"},
    "cancel": {"ticket": 1},
    "run-again": {"ticket": 1},
    "to-front": {"ticket": 1},
}


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path, most_wrong_keys=len(ACTS) + 1)
    made.keys.make("anna", operator=True)
    made.keys.make("radiology")
    yield made
    made.close()


@pytest.fixture
def act(web):
    def act(name, key="key-of-anna", **body):
        return web.client.post(f"/queues/{name}", json=body, headers={"X-API-Key": key} if key else {})

    return act


@pytest.fixture
def see(web):
    return lambda query="", key="key-of-anna": web.client.get(f"/queues{query}", headers={"X-API-Key": key})


def problem_of(answer, status, slug):
    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{slug}"), problem
    return problem


@pytest.mark.parametrize(
    ("key", "status", "slug"),
    [
        (None, 401, "key-needed"),
        ("wrong", 401, "key-needed"),
        ("key-of-radiology", 403, "operator-needed"),
    ],
)
def test_without_an_operators_key_nothing_is_told_and_nothing_done(web, act, key, status, slug):
    web.submit()
    headers = {"X-API-Key": key} if key else {}
    answers = [act(name, key, **body) for name, body in ACTS.items()] + [web.client.get("/queues", headers=headers)]
    for answer in answers:
        problem_of(answer, status, slug)
        assert "GPU" not in answer.get_data(as_text=True)
    assert web.store.acts == []


def test_the_page_itself_holds_nothing_and_needs_no_key(web):
    answer = web.client.get("/queues", headers={"Accept": OF_BROWSERS}, buffered=True)
    document = answer.get_data(as_text=True)
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.headers["Vary"] == "Accept"
    assert rules_of(answer)["script-src"] == rules_of(answer)["style-src"] == {"'self'"}
    assert "GPU" not in document
    assert "<style" not in document
    assert document.count("<script") == document.count('<script type="module" src="/static/queues.js"></script>') == 1


def test_an_operator_sees_sources_tickets_and_the_last_day_without_what_opens_a_ticket(web, see):
    ticket = web.submit(state=FAILED, error={"title": "X", "detail": "Anna Schmidt"})
    web.submit(state=RUNNING, stage="<b>half</b>")
    seen = see().get_json()
    assert [(source["name"], source["live"], source["reading"]["celsius"]) for source in seen["sources"]] == [
        ("here/GPU-aaa", True, None)
    ]
    assert [each["id"] for each in seen["running"]] == [2]
    assert (seen["tickets"][1]["error"], seen["tickets"][1]["can_run_again"]) == ("X", True)
    assert len(seen["hours"]) == 24
    assert {each["succeeded"] for each in seen["hours"]} == {1}
    assert {each["succeeded"] for each in see("?service=FloatComputation").get_json()["hours"]} == {2}
    assert see("?service=Nothing").get_json()["hours"] == []
    text = json.dumps(seen)
    assert ticket["token"] not in text
    assert "Schmidt" not in text
    assert web.store.tickets[1].folder not in text


def test_tickets_before_the_newest_are_seen_by_their_id(web, see):
    for _ in range(3):
        web.submit()
    assert [each["id"] for each in see("?up_to=2").get_json()["tickets"]] == [2, 1]
    for wrong in ("0", "-1", "x", "1e3", "9" * 30, "²"):
        problem_of(see(f"?up_to={wrong}"), 400, "invalid-request")


def test_an_hour_that_is_over_is_summed_up_once(web, see):
    see()
    assert len(web.seen.asked_hours) == 24
    see()
    assert len(web.seen.asked_hours) == 24, "the present hour is recent"
    web.seen.now = web.seen.now.replace(hour=4, minute=0, second=30)
    see()
    assert [asked.hour for asked in web.seen.asked_hours[24:]] == [4], "the one before is recent"
    last_day = web.app.view_functions["queues"].__self__.last_day
    for minute, read_again in ((0, [3, 4]), (0, [3, 4]), (1, [3, 4]), (1, [4])):
        web.seen.now = web.seen.now.replace(minute=minute)
        web.seen.asked_hours.clear()
        last_day.recent.clear()
        see()
        assert [asked.hour for asked in web.seen.asked_hours] == read_again, "within a minute it may not be settled"


def test_a_source_is_drained_and_resumed(web, act, see):
    assert act("drain", source="here/GPU-aaa").get_json() == {"source": "here/GPU-aaa", "drained": True}
    assert see().get_json()["sources"][0]["drained"]
    assert act("resume", source="here/GPU-aaa").get_json()["drained"] is False
    assert web.store.acts == [("anna", "drain", "here/GPU-aaa"), ("anna", "resume", "here/GPU-aaa")]
    for name in ("here/GPU-zzz", "a\0b", "\ud800"):
        problem_of(act("drain", source=name), 404, "not-found")
    assert ("anna", "drain", None, "not-found") in web.audit.lines


def test_a_waiting_ticket_is_cancelled_and_a_running_one_asked_to_stop(web, act):
    web.submit()
    web.submit(state=RUNNING)
    assert act("cancel", ticket=1).get_json() == {"id": 1, "state": CANCELLED, "cancel_requested": False}
    assert act("cancel", ticket=1).status_code == 200, "it is idempotent"
    answer = act("cancel", ticket=2)
    assert (answer.status_code, answer.get_json()["cancel_requested"]) == (202, True)


def test_what_has_ended_is_not_cancelled_so_that_no_result_is_deleted(web, act):
    ticket = web.submit()
    web.succeed(ticket)
    assert problem_of(act("cancel", ticket=1), 409, "ticket-ended")["detail"] == "Ticket 1 has ended: it is succeeded."
    assert not web.store.tickets[1].delete_requested
    assert web.store.acts == []
    assert ("anna", "cancel", 1, "ticket-ended") in web.audit.lines


def test_an_ended_ticket_is_run_again_with_a_copy_of_its_input(web, act):
    ticket = web.submit()
    web.succeed(ticket)
    answer = act("run-again", ticket=1)
    assert (answer.status_code, answer.get_json()["again_of"]) == (202, 1)
    new = web.store.tickets[answer.get_json()["id"]]
    old = web.store.tickets[1]
    assert (new.state, new.token_hash) == (SUBMITTED, old.token_hash)
    assert new.folder != old.folder
    main = [web.storage.folder_of(row.folder).inputs / "main.json" for row in (old, new)]
    assert main[0].read_bytes() == main[1].read_bytes()
    assert main[0].samefile(main[1]), "the file is there once"
    assert not list(web.storage.folder_of(new.folder).path.glob("out"))
    assert web.uploads_left() == []


@pytest.mark.parametrize("change", [{"state": RUNNING}, {"state": SUCCEEDED, "files_removed": True}])
def test_what_runs_or_is_gone_is_not_run_again(web, act, change):
    web.submit(**change)
    problem_of(act("run-again", ticket=1), 409, "not-run-again")
    assert len(list(web.storage.tickets.iterdir())) == 1


@pytest.mark.parametrize("gone", ["files", "row"])
def test_what_goes_while_it_is_copied_is_not_run_again_and_leaves_nothing(web, act, gone):
    web.submit(state=FAILED)
    folder = web.storage.folder_of(web.store.tickets[1].folder)
    if gone == "files":
        web.storage.drop(folder)
    else:
        web.store.going.add(1)
    problem_of(act("run-again", ticket=1), 409, "not-run-again")
    assert web.uploads_left() == []
    assert [each.name for each in web.storage.tickets.iterdir()] == [folder.name] * (gone == "row")
    assert ("anna", "run again", 1, "not-run-again") in web.audit.lines


def test_where_the_file_system_has_no_links_the_input_is_copied(web, act, monkeypatch):
    web.submit(state=FAILED)

    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_links)
    new = web.store.tickets[act("run-again", ticket=1).get_json()["id"]]
    assert (web.storage.folder_of(new.folder).inputs / "main.json").read_bytes()


def test_a_full_disk_is_told_and_nothing_is_left(web, act, monkeypatch):
    web.submit(state=FAILED)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", full)
    monkeypatch.setattr("shutil.copyfile", full)
    problem_of(act("run-again", ticket=1), 507, "storage-full")
    assert web.uploads_left() == []


@pytest.mark.parametrize("ticket", [0, -1, 77, 2**63, 2**200])
def test_a_ticket_that_is_not_there_is_told(act, ticket):
    for name in ("cancel", "run-again", "to-front"):
        problem_of(act(name, ticket=ticket), 404, "not-found")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"[" * 10_000,
        b'{"ticket": "1"}',
        b'{"ticket": true}',
        b'{"ticket": 1.5}',
        b'{"ticket": 1, "more": 2}',
        b'{"source": "here/GPU-aaa"}',
        b"\xff",
    ],
)
def test_a_body_of_another_form_is_refused(web, body):
    headers = {"X-API-Key": "key-of-anna", "Content-Type": "application/json"}
    answer = web.client.post("/queues/cancel", data=body, headers=headers)
    assert "ticket" in problem_of(answer, 400, "invalid-request")["detail"] or b"ticket" not in body


def test_a_large_body_and_one_of_another_type_are_refused(web, act):
    problem_of(act("drain", source="x" * 20_000), 413, "too-large")
    answer = web.client.post(
        "/queues/drain",
        input_stream=io.BytesIO(b'{"source": "here/GPU-aaa"}' + b" " * 20_000),
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},  # as of a chunked body
        headers={"X-API-Key": "key-of-anna", "Content-Type": "application/json"},
    )
    problem_of(answer, 413, "too-large")
    headers = {"X-API-Key": "key-of-anna", "Content-Type": "text/plain"}
    problem_of(web.client.post("/queues/drain", data="{}", headers=headers), 415, "invalid-request")


def test_an_operators_key_submits_too(web):
    assert web.post(headers={"X-API-Key": "key-of-anna"}).status_code == 202


def test_the_operators_modules_are_there():
    assert {"queues.js", "queues.css"} <= {path.name for path in STATIC.iterdir()}


def test_an_operator_moves_a_waiting_ticket_to_the_front_and_nothing_else(web, act, see):
    web.submit()
    moved = act("to-front", ticket=1).get_json()
    assert moved == {"id": 1, "state": "submitted", "compute_source": None}
    (waiting,) = see().get_json()["waiting"]
    assert (waiting["priority"], waiting["moved_to_front"]) == ("normal", True)
    assert web.store.acts == [("anna", "to front", 1)]
    web.store.change(1, state=RUNNING)
    problem = problem_of(act("to-front", ticket=1), 409, "ticket-started")
    assert problem["detail"] == "Ticket 1 does not wait: it is running."
    assert ("anna", "to front", 1, "ticket-started") in web.audit.lines
