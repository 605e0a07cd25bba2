"""The table of a cohort, for people, programs and spreadsheets."""

import csv
import io
import json

import pytest

from tests.stub_server import result
from tomaat.client.__main__ import main
from tomaat.client.table import harmless

pytestmark = pytest.mark.usefixtures("quick_client")
LABELS = [{"value": 1, "name": "left", "ml": 3.25}, {"value": 2, "name": "right", "ml": 12.0}]
RECORD = {"service": "Brain", "outputs": [{"name": "b", "type": "labels", "file": "b.nii", "labels": LABELS}]}


@pytest.fixture
def tomaat(stub, tmp_path, monkeypatch, capsys):
    """Run a command line in a folder with two volumes; give exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOMAAT_URL", stub.url)
    stub.result = result(RECORD, b_nii=b"x")
    for name in ("anna", "=cmd"):
        (tmp_path / f"{name}.nii").write_text(name)

    def run(*arguments):
        code = main([*arguments, "-q"])
        return (code, *capsys.readouterr())

    return run


def read(content):
    return list(csv.DictReader(io.StringIO(content)))


def test_a_cohort_leaves_a_table_with_the_volume_of_each_label_and_no_formula(tomaat, tmp_path):
    assert tomaat("run", "Brain", "scan=*.nii", "-o", "out", "-j", "1", "--csv", "out.csv")[0] == 0
    content = (tmp_path / "out.csv").read_bytes()
    head = ("label", "service", "ticket", "state", "b: left (ml)", "b: right (ml)")
    assert content.decode("utf-8-sig").startswith(",".join(f'"{cell}"' for cell in head) + "\r\n")
    assert [list(row.values()) for row in read(content.decode("utf-8-sig"))] == [
        ["'=cmd", "Brain", "1", "succeeded", "3.25", "12"],
        ["anna", "Brain", "2", "succeeded", "3.25", "12"],
    ]
    tomaat("run", "Brain", "scan=*.nii", "-o", "out", "--csv", "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == content, "also of what was there already"
    (tmp_path / "out/anna/b.nii").unlink()
    assert tomaat("table", "out", "--csv", "-")[1] == content.decode("utf-8-sig").replace("\r\n", "\n")


def test_what_has_no_result_has_a_row_that_says_so(tomaat, stub, tmp_path):
    stub.states = ["failed", "succeeded"]
    stub.faults = [("POST", 422)]
    assert tomaat("run", "Brain", "scan=*.nii", "-o", "out", "-j", "1", "--csv", "out.csv")[0] == 1
    assert [row["state"] for row in read((tmp_path / "out.csv").read_text("utf-8-sig"))] == ["refused", "failed"]
    tomaat("submit", "Brain", "scan=anna.nii", "-o", "later/case")
    (tmp_path / "later/other").mkdir()
    (tmp_path / "later/other/result.json").write_text('{"outputs": [3]}')
    code, out, err = tomaat("table", "later", "--json")
    assert (code, err) == (0, "later/other/result.json is no result, and is left out.\n")
    assert json.loads(out) == {
        "label": "anna.nii",
        "service": "Brain",
        "ticket": 2,
        "state": "not fetched",
        "volumes_ml": {},
    }


def test_a_result_of_an_earlier_request_gives_no_volumes_to_a_later_one(tomaat, stub, tmp_path):
    assert tomaat("run", "Brain", "scan=anna.nii", "-o", "out")[0] == 0
    (tmp_path / "bert.nii").write_bytes(b"another scan")
    code, out, _ = tomaat("run", "Brain", "scan=bert.nii", "-o", "out", "--csv", "-")
    assert (code, [row["ticket"] for row in read(out)]) == (2, [""]), "the ticket in the folder is anna's"
    stub.states = ["running"]
    tomaat("submit", "Brain", "scan=bert.nii", "-o", "out", "--again")
    (row,) = map(json.loads, tomaat("table", "out", "--json")[1].splitlines())
    assert (row["label"], row["ticket"], row["state"], row["volumes_ml"]) == ("bert.nii", 2, "not fetched", {})


def test_results_of_any_origin_are_named_by_their_folders_for_people(tomaat, tmp_path):
    for name in ("ward/anna", "bert"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "result.json").write_text(json.dumps(RECORD))
    assert tomaat("table", "all")[1].splitlines() == [
        "label      service  ticket  state      b: left (ml)  b: right (ml)",
        "bert       Brain            succeeded          3.25             12",
        "ward/anna  Brain            succeeded          3.25             12",
    ]
    assert tomaat("table", "nowhere")[::2] == (6, "nowhere: there is no such folder.\n")


def test_a_table_that_cannot_be_written_is_told_before_anything_is_sent(tomaat, stub):
    assert tomaat("run", "Brain", "scan=*.nii", "--csv", "nowhere/out.csv")[0] == 10
    assert stub.tickets == {}


def test_a_table_may_lie_in_the_folder_of_the_results(tomaat, tmp_path):
    assert tomaat("run", "Brain", "scan=*.nii", "-o", "out/all", "--csv", "out/all/volumes.csv")[0] == 0
    rows = read((tmp_path / "out/all/volumes.csv").read_text("utf-8-sig"))
    assert [row["state"] for row in rows] == ["succeeded", "succeeded"]
    (tmp_path / "one").mkdir()
    assert tomaat("run", "Brain", "scan=anna.nii", "-o", "one", "--csv", "one/volumes.csv")[0] == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        *("b.nii", "result.json", "tomaat-ticket.json", "volumes.csv"),
    ]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_table_on_standard_output_has_it_for_itself(tomaat, stub, how):
    stub.faults = [("POST", 422)]
    code, out, err = tomaat("run", "Brain", "scan=*.nii", "-o", "out", "-j", "1", "--csv", "-", *how)
    assert (code, [row["state"] for row in read(out)]) == (3, ["refused", "succeeded"])
    assert out.startswith('"label","service"')
    assert err != ""
    assert tomaat("run", "Brain", "scan=*.nii", "-o", "out", "-n", "--csv", "-")[1].count("out/") == 2, "of a dry run"


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\t=1", "  =1", "\uff1d1"])
def test_no_cell_begins_as_a_formula(cell):
    assert harmless(cell) == f"'{cell}"
