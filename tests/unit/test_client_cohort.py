import io
import json
import stat

import pytest

from tests.stub_server import SUM, result
from tomaat.client import Client, NotAllowed, Unreachable
from tomaat.client.cohort import Cohort, Errand
from tomaat.client.display import Display
from tomaat.client.place import NOTE, Place, places_below

pytestmark = pytest.mark.usefixtures("quick_client")


@pytest.fixture
def send(stub, tmp_path):
    """Do an errand for each input; give them as they ended."""

    def send(*numbers, how="run", patience_seconds=0, **options):
        client = Client(stub.url, patience_seconds=patience_seconds)
        ended = []
        cohort = Cohort(client, Display(io.StringIO()), ended.append, **options)
        payloads = [client.prepare("Sum", {"f1": number}) for number in numbers]
        places = [Place(tmp_path / f"case{place}") for place in range(len(numbers))]
        getattr(cohort, how)(
            [Errand(place.folder.name, place, payload) for place, payload in zip(places, payloads, strict=True)]
        )
        return ended

    return send


def note(tmp_path, **changes):
    """Read a case's note, or change it."""
    path = tmp_path / "case0" / NOTE
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))
    return content


def told(ended):
    return [(errand.name, errand.state, errand.exit_code, errand.skipped) for errand in ended]


def test_each_case_has_its_result_in_its_own_folder(send, tmp_path):
    assert told(send(1, 2, 3)) == [(f"case{place}", "succeeded", 0, False) for place in range(3)]
    assert [place.result()["sum"] for place in places_below(tmp_path)] == [3, 3, 3]


def test_what_is_done_is_not_done_again(stub, send):
    send(1, 2)
    assert told(send(1, 2, 3)) == [
        ("case0", "succeeded", 0, True),
        ("case1", "succeeded", 0, True),
        ("case2", "succeeded", 0, False),
    ]
    assert len(stub.tickets) == 3


def test_again_replaces_what_is_done(stub, send, tmp_path):
    send(1)
    stub.result = result({**SUM, "outputs": [{"name": "sum", "type": "json", "value": 4}]})
    assert told(send(1, again=True)) == [("case0", "succeeded", 0, False)]
    assert Place(tmp_path / "case0").result()["sum"] == 4


def test_what_is_under_way_is_followed(stub, send):
    stub.states = ["running"]
    assert told(send(1, how="submit")) == [("case0", "submitted", 0, False)]
    stub.states = ["succeeded"]
    assert told(send(1)) == [("case0", "succeeded", 0, False)]
    assert len(stub.tickets) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled", "expired"])
def test_what_ended_without_a_result_is_sent_again(stub, send, state):
    send(1, how="submit")
    stub.states = [state, "succeeded"]
    assert told(send(1)) == [("case0", "succeeded", 0, False)]
    assert len(stub.tickets) == 2


def test_a_ticket_that_the_server_forgot_is_sent_again(stub, send, tmp_path):
    send(1, how="submit")
    note(tmp_path, token="forgotten")
    assert told(send(1)) == [("case0", "succeeded", 0, False)]
    assert len(stub.tickets) == 2


def test_a_request_that_may_have_arrived_is_sent_with_its_key_again(stub, send, tmp_path):
    stub.faults = [("POST", "lose")]
    with pytest.raises(Unreachable):
        send(1)
    assert note(tmp_path)["id"] is None
    assert told(send(1)) == [("case0", "succeeded", 0, False)]
    assert len(stub.tickets) == 1


def test_a_request_that_is_packed_otherwise_now_gets_a_key_of_its_own(stub, send, tmp_path):
    stub.faults = [("POST", "lose")]
    with pytest.raises(Unreachable):
        send(1)
    stub.tickets[note(tmp_path)["idempotency_key"]] = b"packed by another zlib"
    assert told(send(1)) == [("case0", "succeeded", 0, False)]


def test_other_inputs_do_not_pass_for_done_nor_take_anothers_ticket(stub, send, tmp_path):
    send(1)
    assert told(send(2)) == [("case0", "unsent", 2, False)]
    assert told(send(2, again=True)) == [("case0", "succeeded", 0, False)]
    send(2, how="submit", again=True)
    stub.states = ["running"]
    ended = send(3)
    assert told(ended) == [("case0", "unsent", 2, False)], "the state of the ticket in the folder is another's"
    assert "another request is under way" in ended[0].error.detail
    stub.states = ["running", "succeeded"]
    assert told(send(3, again=True)) == [("case0", "succeeded", 0, False)]
    assert len(stub.cancelled) == 1


def test_other_inputs_take_the_place_of_what_failed_or_was_never_sent(stub, send):
    stub.states = ["failed"]
    assert told(send(1)) == [("case0", "failed", 1, False)]
    stub.states = ["failed", "succeeded"]
    assert told(send(2)) == [("case0", "succeeded", 0, False)]


def test_what_the_server_refuses_leaves_nothing_behind(stub, send, tmp_path):
    stub.faults = [("POST", 422, {"slug": "invalid-inputs"})]
    assert told(send(1, 2)) == [("case0", "unsent", 3, False), ("case1", "succeeded", 0, False)]
    assert not (tmp_path / "case0").exists()


def test_one_failure_leaves_the_others_alone(stub, send):
    stub.states = ["failed", "succeeded"]
    assert told(send(1, 2)) == [("case0", "failed", 1, False), ("case1", "succeeded", 0, False)]


def test_what_would_befall_all_ends_it(stub, send):
    stub.faults = [("POST", 401)]
    with pytest.raises(NotAllowed):
        send(1, 2)
    assert len(stub.asked("POST")) == 1


def test_no_more_are_under_way_at_once_than_asked_for(stub, send):
    stub.states = ["running"] * 30 + ["succeeded"]
    send(*range(9), at_once=4)
    under_way = most = 0
    for method, path, _ in stub.seen:
        under_way += (method == "POST") - path.startswith("/result")
        most = max(most, under_way)
    assert most == 4


def test_a_folder_with_other_files_is_left_alone(send, tmp_path):
    (tmp_path / "case0").mkdir()
    (tmp_path / "case0" / "sum.nii").write_text("mine")
    assert told(send(1)) == [("case0", "unsent", 2, False)]
    assert [path.name for path in (tmp_path / "case0").iterdir()] == ["sum.nii"]


def test_the_note_is_for_its_owner_while_there_is_a_token_in_it(send, tmp_path):
    send(1, how="submit")
    path = tmp_path / "case0" / NOTE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert note(tmp_path)["token"] == "secret1"
    send(1)
    assert note(tmp_path)["token"] is None


def test_a_ticket_at_another_server_is_not_asked_for_here(send, tmp_path):
    send(1, how="submit")
    note(tmp_path, url="http://elsewhere.example")
    ended = send(1)
    assert told(ended) == [("case0", "unsent", 2, False)]
    assert "under way at http://elsewhere.example" in ended[0].error.detail


def test_a_result_whose_files_are_gone_is_made_again(stub, send, tmp_path):
    send(1)
    (tmp_path / "case0" / "result.json").unlink()
    assert told(send(1)) == [("case0", "succeeded", 0, False)]
    assert len(stub.tickets) == 2


def test_what_is_fetched_is_deleted_at_the_server_where_that_is_asked_for(stub, send, tmp_path):
    send(1, delete=True)
    order = [method for method, path, _ in stub.seen if path.startswith(("/result", "/request/"))]
    assert order == ["GET", "DELETE", "DELETE"]
    assert note(tmp_path)["token"] is None


def test_a_deletion_that_was_interrupted_is_made_good_and_nothing_is_sent_again(stub, send, tmp_path):
    stub.faults = [("DELETE", 503)]
    with pytest.raises(Unreachable):
        send(1, delete=True)
    assert note(tmp_path)["token"] == "secret1"
    assert told(send(1)) == [("case0", "succeeded", 0, True)]
    assert stub.cancelled == {1}
    assert note(tmp_path)["token"] is None
    assert len(stub.tickets) == 1


def test_a_result_without_outputs_is_one(stub, send):
    stub.result = result({"outputs": []})
    assert told(send(1)) == [("case0", "succeeded", 0, False)]
    assert told(send(1)) == [("case0", "succeeded", 0, True)]


def test_a_note_that_is_none_is_told(send, tmp_path):
    (tmp_path / "case0").mkdir()
    (tmp_path / "case0" / NOTE).write_text('{"id": 1}')
    ended = send(1)
    assert ended[0].exit_code == 2
    assert NOTE in ended[0].error.detail
