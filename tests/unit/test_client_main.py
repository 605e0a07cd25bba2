import json

import pytest

from tests.stub_server import SUM, result
from tomaat.client import EXIT_CODES, ClientError
from tomaat.client.__main__ import main
from tomaat.client.place import NOTE

pytestmark = pytest.mark.usefixtures("quick_client")


@pytest.fixture
def tomaat(stub, tmp_path, monkeypatch, capsys):
    """Run a command line in a folder of its own; give exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOMAAT_URL", stub.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.delenv("TOMAAT_KEY", raising=False)

    def run(*arguments):
        try:
            code = main(arguments)
        except SystemExit as leaving:
            code = leaving.code
        return (code, *capsys.readouterr())

    return run


def test_the_services_are_listed_with_how_their_inputs_are_written(tomaat, stub):
    stub.services = [*stub.services[:1], {**stub.services[1], "available": False}]
    code, out, _ = tomaat("services")
    assert code == 0
    assert out.splitlines()[:3] == ["Sum  Adds.", "  f1=FLOAT  The f1", "  [op=add]  The op (add, multiply)"]
    assert "Brain  Outlines.  (no compute source offers it now)" in out
    stub.services[1]["why_unavailable"] = "No compute source takes it now: a is drained."
    assert "Brain  Outlines.  (No compute source takes it now: a is drained.)" in tomaat("services")[1]
    assert "[points=POINTLIST]  The points (x,y,z;x,y,z in LPS)" in out
    assert tomaat("services", "Sum")[1].splitlines()[0] == "Sum  Adds."
    stub.services[0] |= {"intended_use": "Research.", "licence": "MIT", "contact": ""}
    told = ["  intended use: Research.", "  version: 1", "  licence: MIT"]
    assert tomaat("services", "Sum")[1].splitlines()[-3:] == told
    assert "Research." not in tomaat("services")[1]
    assert [json.loads(line)["name"] for line in tomaat("services", "--json")[1].splitlines()] == ["Sum", "Brain"]


def test_run_prints_the_outputs_and_shows_progress_elsewhere(tomaat, stub, tmp_path):
    stub.states = ["queued", "running", "succeeded"]
    code, out, err = tomaat("run", "Sum", "f1=1", "-o", "out", "op=multiply")
    assert (code, out) == (0, "sum: 3\n")
    assert [line.split()[0] for line in err.splitlines()] == ["uploading", "waiting", "running", "fetching"]
    assert (tmp_path / "out" / "result.json").exists()
    assert tomaat("run", "Sum", "f1=1", "-o", "out2", "--quiet") == (0, "sum: 3\n", "")


def test_labels_are_told_in_ml(tomaat, stub, tmp_path):
    (tmp_path / "head.nii").touch()
    labels = [{"value": 1, "name": "brain", "ml": 1910.07}]
    stub.result = result({"outputs": [{"name": "b", "type": "labels", "file": "b.nii", "labels": labels}]}, b_nii=b"x")
    assert tomaat("run", "Brain", "scan=head.nii", "-q")[1].splitlines() == [
        "b: Brain-result/b.nii",
        "  brain: 1,910.1 ml",
    ]


def test_json_is_one_object_for_each_request_and_alone_on_standard_output(tomaat, stub, tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.nii").write_text(name)
    stub.states = ["failed", "succeeded"]
    stub.status_of = {"error": {"type": "/problems/refused", "detail": "No head."}}
    code, out, _ = tomaat("run", "Brain", "scan=*.nii", "--json", "-j", "1")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [(one["name"], one["state"], one["exit_code"]) for one in told] == [
        ("a", "failed", 1),
        ("b", "succeeded", 0),
        ("c", "succeeded", 0),
    ]
    assert told[0]["error"]["type"] == "/problems/refused"
    assert told[1]["outputs"] == {"sum": 3}
    assert "secret" not in out


def test_a_cohort_is_told_case_by_case_and_again_from_before(tomaat, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.nii").write_text(name)
    lines = tomaat("run", "Brain", "scan=*.nii", "-o", "out", "-q")[1].splitlines()
    assert sorted(zip(lines[::2], lines[1::2], strict=True)) == [("out/a", "  sum: 3"), ("out/b", "  sum: 3")]
    assert "out/a (was there already)" in tomaat("run", "Brain", "scan=*.nii", "-o", "out", "-q")[1]
    tomaat("run", "Sum", "f1=1", "-o", "alone")
    told = tomaat("run", "Sum", "f1=1", "-o", "alone", "-q")[1]
    assert told == "alone was there already; --again sends it anew.\nsum: 3\n"


def test_a_dry_run_lists_the_requests_and_sends_none(tomaat, stub, tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.nii").touch()
    assert tomaat("run", "Brain", "scan=*.nii", "-n", "-o", "out")[1] == "out/a: a.nii\nout/b: b.nii\n"
    assert stub.tickets == {}
    assert not (tmp_path / "out").exists()


def test_submit_status_fetch_and_cancel_know_the_ticket_by_its_folder(tomaat, stub, monkeypatch):
    stub.states = ["queued"]
    stub.status_of = {"position": 3, "eta_seconds": 90.0}
    assert tomaat("submit", "Sum", "f1=1", "-q")[:2] == (0, "Sum-result: submitted\n")
    monkeypatch.delenv("TOMAAT_URL")
    assert tomaat("status", "Sum-result")[1] == "Sum-result: queued, 2 ahead, done in about 2 min\n"
    stub.status_of = {"position": 1, "why_waiting": "here/gpu-0 is drained."}
    assert tomaat("status", "Sum-result")[1] == "Sum-result: queued, next, here/gpu-0 is drained.\n"
    code, _, err = tomaat("fetch", "Sum-result")
    assert (code, err) == (7, "Sum-result: Ticket 1 is queued, and has not ended yet.\n")
    stub.states = ["queued", "succeeded"]
    assert tomaat("fetch", "Sum-result", "--wait", "-q")[:2] == (0, "Sum-result\n  sum: 3\n")
    assert tomaat("status", "Sum-result")[1] == "Sum-result: fetched\n"
    stub.states = ["queued"]
    tomaat("submit", "Sum", "f1=2", "-o", "other", "--url", stub.url)
    assert tomaat("cancel", "other")[1].startswith("other: cancelled")
    assert tomaat("fetch", "other")[::2] == (8, "other: Ticket 2 was given up.\n")


def test_cancel_leaves_what_has_ended_unless_it_is_to_be_deleted(tomaat, stub):
    tomaat("submit", "Sum", "f1=1", "-o", "out")
    assert tomaat("cancel", "out")[1] == "out: succeeded\n"
    assert stub.asked("DELETE") == []
    tomaat("cancel", "--delete", "out")
    assert len(stub.asked("DELETE")) == 2


def test_a_ticket_is_also_known_by_id_and_token(tomaat, stub):
    tomaat("submit", "Sum", "f1=1")
    assert tomaat("status", "1&secret1")[1] == "ticket 1: succeeded\n"
    assert tomaat("fetch", "1&secret1", "-o", "here", "-q")[:2] == (0, "here\n  sum: 3\n")
    assert tomaat("fetch", "1&secret1", "-q")[:2] == (0, "ticket-1\n  sum: 3\n")
    assert tomaat("status", "1&wrong")[0] == 6


def test_the_key_comes_from_a_file_or_the_environment(tomaat, stub, tmp_path, monkeypatch):
    (tmp_path / "key").write_text("from-file\n")
    monkeypatch.setenv("TOMAAT_KEY", "from-environment")
    tomaat("submit", "Sum", "f1=1", "-o", "a")
    tomaat("submit", "Sum", "f1=1", "-o", "b", "--key-file", "key")
    assert [headers["X-API-Key"] for headers in stub.asked("POST")] == ["from-environment", "from-file"]
    (tmp_path / "key").write_text("\n")
    assert tomaat("services", "--key-file", "key")[::2] == (2, "key is empty; write the API key into it.\n")
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    assert "The API key is not one line of plain characters." in tomaat("services", "--key-file", "key")[2]


@pytest.mark.parametrize(
    ("code", "arguments", "faults"),
    [
        (0, ["run", "Sum", "f1=1"], []),
        (1, ["run", "Sum", "f1=1", "op=multiply"], []),
        (2, ["run", "Sum", "f1"], []),
        (2, ["run"], []),
        (2, ["run", "Sum", "f1=1", "stray"], []),
        (2, ["run", "Sum", "f1=1", "-j", "0"], []),
        (2, ["services", "--url", "nowhere"], []),
        (3, ["run", "Sum", "f9=1"], []),
        (3, ["run", "Sum", "f1=1"], [("POST", 422)]),
        (4, ["services", "--patience", "0"], [("GET", 503)]),
        (5, ["run", "Sum", "f1=1"], [("POST", 403)]),
        (6, ["run", "Summ", "f1=1"], []),
        (6, ["status", "nowhere"], []),
        (9, ["run", "Sum", "f1=1"], [("GET", "none"), ("GET", "none"), ("GET", "flip"), ("GET", "flip")]),
        (10, ["services", "--key-file", "nowhere"], []),
    ],
)
def test_an_exit_code_says_what_happened_and_a_sentence_too(tomaat, stub, code, arguments, faults):
    stub.faults = faults
    if "op=multiply" in arguments:
        stub.states = ["failed"]
    ended, _, err = tomaat(*arguments)
    assert ended == code
    assert "Traceback" not in err
    assert err


def test_every_error_has_a_code_that_is_explained():
    codes = [kind.exit_code for kind in ClientError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert EXIT_CODES.keys() == {0, *codes, 10, 130}


def test_an_error_is_an_object_too_where_json_is_asked_for(tomaat, stub):
    stub.faults = [("GET", 503)]
    code, out, err = tomaat("services", "--json", "--patience", "0")
    assert json.loads(out) == {
        "error": {"type": "/problems/busy", "status": 503, "detail": "It is busy."},
        "exit_code": 4,
    }
    assert (code, err) == (4, "It is busy.\n")


def test_ctrl_c_says_how_to_go_on(tomaat, stub, monkeypatch, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tomaat.client.cohort.Ticket.status", interrupt)
        code, _, err = tomaat("run", "Sum", "f1=1", "-o", "out")
    assert code == 130
    assert "tomaat cancel out gives up" in err
    assert (tmp_path / "out" / NOTE).exists()
    assert tomaat("run", "Sum", "f1=1", "-o", "out", "-q")[:2] == (0, "sum: 3\n")
    assert len(stub.tickets) == 1


def test_what_a_server_writes_does_not_steer_the_terminal(tomaat, stub):
    stub.result = result({**SUM, "outputs": [{"name": "sum", "type": "text", "value": "\x1b[2J"}]})
    assert tomaat("run", "Sum", "f1=1", "-q")[1] == "sum: \ufffd[2J\n"


def test_the_shells_scripts_are_printed(tomaat):
    assert "complete -F _tomaat tomaat" in tomaat("completion", "bash")[1]
    assert "compdef _tomaat tomaat" in tomaat("completion", "zsh")[1]
    assert tomaat("completion", "csh")[0] == 2


def test_a_tab_is_answered_by_a_server_that_is_there_and_by_nobody_soon_otherwise(tomaat, monkeypatch):
    assert tomaat("__complete", "tomaat run S")[1] == "Sum\n"
    monkeypatch.setenv("TOMAAT_URL", "http://127.0.0.1:1")
    assert tomaat("__complete", "tomaat run S")[:2] == (0, "\n")


def test_what_of_a_folder_is_not_sent_is_named_on_standard_error_quiet_or_not(tomaat, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/1").write_bytes(bytes(128) + b"DICM")
    for number in range(22):
        (tmp_path / f"study/{number:02}.exe").write_bytes(b"MZ")
    code, out, err = tomaat("run", "Brain", "scan=study", "-q")
    assert (code, out) == (0, "sum: 3\n")
    assert err.startswith("scan: not sent, since no DICOM: 00.exe, 01.exe, ")
    assert err.endswith(", 19.exe and 2 more.\n")
    code, out, err = tomaat("run", "Brain", "scan=study", "--json", "-n", "-o", "other")
    assert json.loads(out)["left_out"] == {"scan": [f"{number:02}.exe" for number in range(22)]}


def test_what_the_server_remarks_on_an_input_is_told(tomaat, stub, tmp_path):
    (tmp_path / "head.nii").touch()
    remark = {"input": "scan", "code": "no-place", "detail": "scan: the header does not say where it lies."}
    stub.result = result({**SUM, "remarks": [remark]})
    assert tomaat("run", "Brain", "scan=head.nii", "-q")[1] == f"sum: 3\nremark: {remark['detail']}\n"
    assert json.loads(tomaat("run", "Brain", "scan=head.nii", "--json", "-q")[1])["remarks"] == [remark]
    stub.result = result({**SUM, "remarks": "none of ours"})
    assert tomaat("run", "Brain", "scan=head.nii", "-q", "-o", "odd")[:2] == (0, "sum: 3\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "Brain", "scan=", "-o", "x"), 3),
        (("run", "Brain", "scan=", "scan=head.nii", "-o", "x"), 2),
        (("run", "Brain", "scan=head.nii", "-o", ""), 2),
        (("run", "Brain", "scan=head.nii", "-o", "x", "--format", ""), 2),
        (("run", "Brain", "scan=head.nii", "-o", "x", "--key-file", ""), 2),
        (("run", "Brain", "scan=head.nii", "-o", "x", "--url", ""), 2),
        (("submit", "Brain", "scan=", "-o", "x"), 3),
        (("status", ""), 2),
        (("fetch", "", "-w"), 2),
        (("cancel", "", "--delete"), 2),
    ],
)
def test_an_empty_argument_as_of_an_unset_variable_means_no_folder_and_nothing_is_sent(
    arguments, code, tomaat, stub, tmp_path
):
    (tmp_path / "head.nii").touch()
    (tmp_path / "image").write_bytes(bytes(128) + b"DICM")
    assert tomaat("submit", "Brain", "scan=head.nii", "-o", "before", "-q")[0] == 0
    assert tomaat(*arguments)[0] == code
    assert len(stub.tickets) == 1
    assert not stub.cancelled
    assert not stub.deleted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "head.nii", "image"]
