"""The priority of a ticket, from the form to its status."""

import pytest

from Inputs import StringInput
from tests.unit.fake_store import Web, offered
from tests.unit.test_web_api_form import part
from tests.unit.test_web_api_label import ADD, PACKED, send
from tomaat.tickets.priorities import NIGHT, NORMAL, PRIORITIES, URGENT


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


def priority_of(web, answer):
    assert answer.status_code == 202, answer.get_data(as_text=True)
    return web.client.get(answer.get_json()["links"]["status"]).get_json()["priority"]


@pytest.mark.parametrize("fields", [ADD, PACKED])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_both_ways_take_a_priority_wherever_it_stands_and_the_status_tells_it(web, fields, place):
    parts = [*fields[:place], part("priority", b"night"), *fields[place:]]
    assert priority_of(web, send(web, *parts)) == NIGHT
    assert priority_of(web, send(web, *fields)) == NORMAL
    assert priority_of(web, send(web, *fields, part("priority", b""))) == NORMAL


def test_what_is_not_allowed_is_refused_and_told_and_leaves_nothing(web):
    key = {"X-API-Key": web.keys.make("radiology")}
    for headers, who in ((None, "A request without an API key"), (key, "The API key radiology")):
        refused = send(web, *ADD, part("priority", b"urgent"), headers=headers)
        assert (refused.status_code, refused.get_json()["type"]) == (403, "/problems/priority-not-allowed")
        assert f"{who} may ask for normal, night" in refused.get_json()["detail"]
        unknown = send(web, *PACKED, part("priority", b"soon"), headers=headers)
        assert (unknown.status_code, unknown.get_json()["errors"][0]["code"]) == (422, "not-a-choice")
        assert f"'soon' is none of urgent, normal, night. {who} may ask" in unknown.get_json()["detail"]
    assert web.store.tickets == {}
    assert not list(web.storage.tickets.iterdir())


@pytest.mark.parametrize(
    "unreadable", [part("payload", b"no archive", filename="p.tar.gz"), part("none", b"1")], ids=["payload", "field"]
)
def test_a_priority_that_stands_before_the_inputs_is_refused_before_they_are_received(web, unreadable):
    for priority, status in ((b"urgent", 403), (b"soon", 422)):
        refused = send(web, ADD[0], part("priority", priority), unreadable)
        assert (refused.status_code, "may ask for normal, night" in refused.get_json()["detail"]) == (status, True)
    assert send(web, ADD[0], unreadable).status_code not in {403, 202}


def test_a_key_asks_for_what_it_may(web):
    key = {"X-API-Key": web.keys.make("ward", priorities=(URGENT, NIGHT))}
    assert priority_of(web, send(web, *ADD, part("priority", b"urgent"), headers=key)) == URGENT
    assert priority_of(web, send(web, *ADD, headers=key)) == NIGHT, "normal is not allowed"


def test_a_server_without_keys_may_allow_strangers_more(tmp_path):
    web = Web(tmp_path, priorities=PRIORITIES)
    assert priority_of(web, send(web, *ADD, part("priority", b"urgent"))) == URGENT
    web.close()


def test_an_input_of_that_id_comes_before_the_priority(web):
    web.store.services.append(offered("Plan", [StringInput("priority", "Priority")]))
    assert priority_of(web, send(web, part("service", b"Plan"), part("priority", b"urgent"))) == NORMAL


def test_a_repeated_request_keeps_its_first_priority(web):
    key = {"Idempotency-Key": "mine"}
    first = send(web, *ADD, part("priority", b"night"), headers=key)
    again = send(web, *ADD, headers=key)
    assert again.get_json()["id"] == first.get_json()["id"]
    assert priority_of(web, again) == NIGHT
