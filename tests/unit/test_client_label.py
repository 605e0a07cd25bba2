"""The label and the priority of a request, from the command line to the form."""

import os

import pytest

from tests.stub_server import declared
from tomaat.client import Client
from tomaat.client.__main__ import main
from tomaat.client.label import label_of, name_of_path
from tomaat.web.api.label import LONGEST_LABEL, read_label

pytestmark = pytest.mark.usefixtures("quick_client")
DICOM = bytes(128) + b"DICM"


@pytest.fixture
def tomaat(stub, tmp_path, monkeypatch):
    """Run a command line in a folder with two volumes and a study; give the labels that the server got."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOMAAT_URL", stub.url)
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).write_text(name)
    (tmp_path / "study").mkdir()
    (tmp_path / "study/1").write_bytes(DICOM)

    def run(*arguments):
        assert main(["run", "Brain", *arguments, "-q"]) == 0
        return sorted(stub.labels.values())

    return run


@pytest.mark.parametrize(
    "name", ["x" * 500, "one\ntwo\0", "turned\u202e", os.fsdecode(b"M\xfcller.nii"), "Müller, Anna.nii.gz", " "]
)
def test_whatever_a_file_is_called_the_server_takes_its_label(name):
    label = label_of(name)
    assert read_label(label.encode()) == (label or None)
    assert len(label) == min(len(name.strip()), LONGEST_LABEL)


@pytest.mark.parametrize(
    ("path", "name"), [("study", "study"), ("./study/", "study"), ("study/..", "here"), (".", "here")]
)
def test_a_folder_is_named_however_it_is_written(path, name, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert name_of_path(path) == name


def test_a_ticket_is_called_after_its_file_or_its_dicom_folder(tomaat):
    assert tomaat("scan=a.nii.gz", "-o", "one") == ["a.nii.gz"]
    assert tomaat("scan=study/", "-o", "two") == ["a.nii.gz", "study"]


def test_the_tickets_of_a_cohort_are_called_after_their_cases(tomaat):
    assert tomaat("scan=*.nii.gz", "-o", "one") == ["a", "b"]


@pytest.mark.parametrize(("given", "labels"), [("knees", ["knees a", "knees b"]), ("", ["", ""])])
def test_a_label_may_be_given_or_left_out(tomaat, given, labels):
    assert tomaat("scan=*.nii.gz", "--label", given) == labels


def test_a_server_that_keeps_no_labels_or_knows_none_gets_none(tomaat, stub):
    without = {key: value for key, value in stub.services[1].items() if key != "takes_label"}
    stub.services = [{**without, "takes_label": False}]
    assert tomaat("scan=a.nii.gz", "-o", "one") == [""]
    stub.services = [without]
    assert tomaat("scan=a.nii.gz", "-o", "two") == ["", ""]


def test_a_script_gives_a_label_unless_the_service_has_an_input_of_that_name(stub):
    client = Client(stub.url)
    client.submit("Sum", f1=1, label="mine")
    assert stub.labels == {1: "mine"}
    stub.services = [{**stub.services[0], "interface": {"label": declared("label", "str")}}]
    ticket = Client(stub.url).submit("Sum", label="a value")
    assert stub.labels[ticket.id] == ""


def test_a_priority_is_sent_where_one_is_given(tomaat, stub):
    tomaat("scan=*.nii.gz", "-o", "one", "--priority", "night")
    tomaat("scan=a.nii.gz", "-o", "two")
    client = Client(stub.url)
    client.submit("Sum", f1=1, priority="urgent")
    stub.services = [{**stub.services[0], "interface": {"priority": declared("priority", "str")}}]
    Client(stub.url).submit("Sum", priority="a value")
    assert list(stub.priorities.values()) == ["night", "night", "", "urgent", ""]
