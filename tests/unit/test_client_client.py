import io
import json
import os
import subprocess
import sys
import tarfile

import pytest

from tests.service import REPOSITORY
from tests.stub_server import result
from tomaat.client import Client, GivenUp, NotAllowed, NotFound, NotReady, Refused, Unusable
from tomaat.client.errors import Failed

ANSWERS = {"position": 2, "eta_seconds": 70.0}


pytestmark = pytest.mark.usefixtures("quick_client")


def sent(stub):
    """What the server has of each ticket, by the names of the members."""
    for payload in stub.tickets.values():
        with tarfile.open(fileobj=io.BytesIO(payload)) as archive:
            yield {member.name: archive.extractfile(member).read() for member in archive}


def test_a_request_is_sent_followed_and_fetched(stub, tmp_path):
    done = Client(stub.url).run("Sum", f1=2.5, op="multiply", out=tmp_path / "out")
    assert done["sum"] == 3
    assert done.folder == tmp_path / "out"
    assert [json.loads(members["main.json"]) for members in sent(stub)] == [{"inputs": {"f1": 2.5, "op": "multiply"}}]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json"}


def test_without_a_folder_the_result_is_called_after_service_and_ticket(stub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(Client(stub.url).run("Sum", f1=1).folder) == "Sum-1"


def test_an_empty_folder_for_a_result_is_refused_before_anything_is_sent(stub):
    with pytest.raises(Unusable, match="out: the path is empty"):
        Client(stub.url).run("Sum", f1=1, out="")
    assert not stub.tickets
    with pytest.raises(Unusable, match="out: the path is empty"):
        Client(stub.url).submit("Sum", f1=1).fetch("")


def test_a_script_is_warned_of_what_is_not_sent(stub, tmp_path):
    (tmp_path / "1").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "viewer.exe").write_bytes(b"MZ")
    with pytest.warns(UserWarning, match=r"^scan: not sent, since no DICOM: viewer\.exe\.$") as warned:
        Client(stub.url).submit("Brain", scan=tmp_path)
    assert warned[0].filename == __file__


def test_an_input_may_be_called_like_an_argument(stub, tmp_path):
    interface = {**stub.services[0]["interface"]}
    interface["format"] = {**interface["f1"], "id": "format"}
    stub.services = [{**stub.services[0], "interface": interface}]
    Client(stub.url).run("Sum", inputs={"format": 1}, f1=2, format="nrrd", out=tmp_path / "out")
    assert [json.loads(members["main.json"]) for members in sent(stub)] == [
        {"inputs": {"f1": 2, "format": 1}, "outputs": {"format": "nrrd"}}
    ]


def test_a_volume_is_sent_as_it_is_and_every_step_is_told(stub, tmp_path):
    scan = tmp_path / "scan.nii"
    scan.write_bytes(bytes(5_000_000))
    stub.states = ["queued", "queued", "running", "succeeded"]
    stub.status_of = ANSWERS
    steps = []
    Client(stub.url).run("Brain", scan=scan, out=tmp_path / "out", on_step=steps.append)
    assert [members["file-scan.nii"] for members in sent(stub)] == [scan.read_bytes()]
    whats = [step.what for step in steps]
    assert list(dict.fromkeys(whats)) == ["packing", "uploading", "waiting", "running", "fetching"]
    assert all(step.fraction == 1 for step in (steps[whats.index("uploading")], steps[-1]))
    assert steps[whats.index("waiting")].text == "1 ahead, done in about 70 s"


@pytest.mark.parametrize("fault", ["lose", "drop", 503])
def test_a_request_whose_answer_is_lost_is_sent_again_and_makes_one_ticket(stub, fault):
    stub.faults = [("POST", fault)]
    ticket = Client(stub.url).submit("Sum", f1=1)
    keys = [headers["Idempotency-Key"] for headers in stub.asked("POST")]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert len(stub.tickets) == 1
    assert ticket.id == 1


def test_two_requests_are_two_tickets(stub):
    client = Client(stub.url)
    assert [client.submit("Sum", f1=1).id for _ in range(2)] == [1, 2]
    assert len(stub.asked("GET")) == 1


def test_the_key_is_shown_where_it_is_needed_only(stub, tmp_path):
    Client(stub.url, key="s3cret").run("Sum", f1=1, out=tmp_path / "out")
    shown = {method for method, _, headers in stub.seen if "X-API-Key" in headers}
    assert shown == {"POST"}
    stub.faults = [("POST", 401, {"slug": "key-needed"})]
    with pytest.raises(NotAllowed):
        Client(stub.url).submit("Sum", f1=1)
    with pytest.raises(Unusable, match="not one line of plain characters"):
        Client(stub.url, key="two\nlines")


def test_a_service_that_is_not_offered_is_told_with_its_neighbours(stub):
    with pytest.raises(NotFound, match=r"no service 'Brian'; did you mean Brain\?"):
        Client(stub.url).run("Brian", scan="x")
    with pytest.raises(NotFound, match=r"no service 'Xyz'; it offers Sum, Brain\."):
        Client(stub.url).run("Xyz")


def test_refused_inputs_send_nothing(stub):
    with pytest.raises(Refused):
        Client(stub.url).run("Sum", f2=1)
    assert stub.asked("POST") == []


@pytest.mark.parametrize(
    ("state", "kind", "sentence"),
    [
        ("failed", Failed, "The head is missing."),
        ("cancelled", GivenUp, "Ticket 1 was given up."),
        ("expired", NotFound, "The result of ticket 1 is no longer kept."),
    ],
)
def test_another_end_than_success_is_an_error(stub, tmp_path, state, kind, sentence):
    stub.states = ["running", state]
    stub.status_of = {"error": {"type": "/problems/refused", "detail": "The head is missing."}}
    with pytest.raises(kind) as raised:
        Client(stub.url).run("Sum", f1=1, out=tmp_path / "out")
    assert raised.value.sentences() == [sentence]
    assert not (tmp_path / "out").exists()


def test_waiting_ends_after_the_seconds_that_were_asked_for(stub):
    stub.states = ["queued"]
    ticket = Client(stub.url).submit("Sum", f1=1)
    with pytest.raises(NotReady, match=r"Ticket 1 is queued, and has not ended within 0\.05 s"):
        ticket.wait(seconds=0.05)


def test_a_server_that_waits_less_is_asked_without_waiting(stub):
    ticket = Client(stub.url).submit("Sum", f1=1)
    stub.states = ["queued", "queued", "succeeded"]
    stub.faults = [("GET", "none"), ("GET", 400)]
    assert ticket.wait()["state"] == "succeeded"
    waits = [path.partition("?")[2] for _, path, _ in stub.seen if path.startswith("/status")]
    assert waits == ["", "wait=25", "", ""]


def test_a_ticket_goes_on_with_id_and_token_only(stub, tmp_path):
    first = Client(stub.url).submit("Sum", f1=1)
    again = Client(stub.url).ticket(first.id, first.token)
    assert again.fetch(tmp_path / "out")["sum"] == 3
    with pytest.raises(NotFound):
        Client(stub.url).ticket(first.id, "wrong").status()


def test_a_ticket_is_cancelled_and_its_files_deleted(stub):
    ticket = Client(stub.url).submit("Sum", f1=1)
    assert ticket.cancel()["state"] == "cancelled"
    ticket.delete()
    assert len(stub.asked("DELETE")) == 2


def test_an_exception_of_whoever_watches_stops_the_upload(stub):
    class Stop(Exception):
        pass

    def watch(step):
        if step.what == "uploading":
            raise Stop

    with pytest.raises(Stop):
        Client(stub.url).submit("Sum", f1=1, on_step=watch)


@pytest.mark.slow
def test_neither_what_is_sent_nor_what_comes_back_is_held_in_memory(stub, tmp_path):
    noise = os.urandom(64_000_000)
    (tmp_path / "scan.nii").write_bytes(noise)
    stub.result = result({"outputs": [{"name": "a", "file": "a.nii"}]}, a_nii=noise)
    program = f"""
import resource
from tomaat.client import Client

def most_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

client = Client({stub.url!r})
client.services()
before = most_bytes()
client.run("Brain", scan="scan.nii", out="out")
print(most_bytes() - before)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program]
    grown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert (tmp_path / "out" / "a.nii").read_bytes() == noise
    assert int(grown) < 24_000_000
