import os

import pytest

from tests.stub_server import SERVICES
from tomaat.client import Client
from tomaat.client.completion import cache_of, complete, remembered


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    for name in ("head.nii.gz", "heart.txt", "my head.nii", ".hidden.nii"):
        (tmp_path / name).touch()
    (tmp_path / "helmet" / "deep").mkdir(parents=True)
    (tmp_path / "helmet" / "a.mha").touch()
    return tmp_path


def completed(line, bash_word=None):
    return complete(line, bash_word, lambda _: SERVICES)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tomaat ", ["services", "run", "submit", "status", "fetch", "cancel", "table", "completion"]),
        ("tomaat s", ["services", "submit", "status"]),
        ("tomaat --url http://h run ", ["Sum", "Brain"]),
        ("tomaat run B", ["Brain"]),
        ("tomaat services B", ["Brain"]),
        ("tomaat services Brain ", []),
        ("tomaat run Brain ", ["scan=", "mask=", "fast=", "points="]),
        ("tomaat run Brain scan=x m", ["mask="]),
        ("tomaat run Brain fast=", ["fast=true", "fast=false"]),
        ("tomaat run Sum op=m", ["op=multiply"]),
        ("tomaat run Sum f1=", []),
        ("tomaat run Brain scan=he", ["scan=head.nii.gz", "scan=helmet/"]),
        ("tomaat run Brain scan=./he", ["scan=./head.nii.gz", "scan=./helmet/"]),
        ("tomaat run Brain scan=helmet/", ["scan=helmet/a.mha", "scan=helmet/deep/"]),
        ("tomaat run Brain scan='my", ["scan=my head.nii"]),
        ("tomaat run Brain scan=.h", ["scan=.hidden.nii"]),
        ("tomaat run Brain scan=nowhere/", []),
        ("tomaat run Brain --a", ["--again", "--at-once"]),
        ("tomaat submit Brain --a", ["--again"]),
        ("tomaat run Brain --format n", ["nii.gz", "nrrd"]),
        ("tomaat run Brain -o he", ["head.nii.gz", "heart.txt", "helmet/"]),
        ("tomaat run Brain --at-once ", []),
        ("tomaat status he", ["helmet/"]),
        ("tomaat completion ", ["bash", "zsh", "fish"]),
        ("tomaat completion z", ["zsh"]),
    ],
)
def test_what_may_come_next_is_listed(line, found):
    assert completed(line) == found


@pytest.mark.parametrize(
    ("line", "bash_word", "found"),
    [
        ("tomaat run Brain scan=he", "he", ["head.nii.gz", "helmet/"]),
        ("tomaat run Brain scan=", "=", ["head.nii.gz", "helmet/", "my head.nii"]),
        ("tomaat run Brain sc", "sc", ["scan="]),
        ("tomaat run Brain scan='my", "'my", ["my head.nii"]),
        ("tomaat ru", "ru", ["run"]),
    ],
)
def test_bash_gets_what_belongs_behind_the_sign_at_which_it_breaks_words(line, bash_word, found):
    assert completed(line, bash_word) == found


def test_a_home_folder_is_looked_into_and_keeps_its_sign(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert completed("tomaat run Brain scan=~/hea") == ["scan=~/head.nii.gz"]


def test_the_services_are_remembered_for_a_while_and_better_than_nothing_later(stub):
    client = Client(stub.url, patience_seconds=0)
    stub.faults = [("GET", 503)]
    assert remembered(client) == []
    assert remembered(client) == SERVICES
    stub.services = SERVICES[:1]
    assert remembered(client) == SERVICES
    assert remembered(Client(f"{stub.url}/", patience_seconds=0)) == SERVICES
    assert len(stub.seen) == 2
    os.utime(cache_of(client), (0, 0))
    stub.faults = [("GET", 503)]
    assert remembered(client) == SERVICES
    assert remembered(client) == SERVICES[:1]
