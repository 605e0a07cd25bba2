import os

import pytest

from tests.stub_server import SERVICES
from tomaat.client import Unusable
from tomaat.client.cases import Case, cases_of, read_inputs

BRAIN = SERVICES[1]["interface"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.nii.gz",
        "b.nii",
        "p/01/t1.nii",
        "p/01/t2.nii",
        "p/02/t1.nii",
        "p/02/t2.nii",
        "odd[1].nii",
        "a.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def cases(*texts):
    return [(case.name.replace(os.sep, "/"), case.inputs) for case in cases_of(read_inputs(texts), BRAIN)]


def test_one_file_is_one_case_without_a_name():
    assert cases_of(read_inputs(["scan=a.nii.gz", "fast=yes"]), BRAIN) == [
        Case("", {"scan": "a.nii.gz", "fast": "yes"})
    ]


def test_a_pattern_is_a_case_for_each_file_called_after_what_differs():
    assert cases("scan=[ab].ni*", "fast=yes") == [
        ("a", {"fast": "yes", "scan": "a.nii.gz"}),
        ("b", {"fast": "yes", "scan": "b.nii"}),
    ]
    assert [name for name, _ in cases("scan=p/*/t1.nii")] == ["01/t1", "02/t1"]
    assert [name for name, _ in cases("scan=p/*/")] == ["01", "02"]
    assert [name for name, _ in cases("scan=p/**/t2.nii")] == ["01/t2", "02/t2"]


def test_a_pattern_that_fits_one_file_names_its_case_as_if_there_were_more():
    assert [name for name, _ in cases("scan=p/01/t1*")] == ["t1"]


def test_a_file_may_be_given_several_times_as_braces_do():
    assert [name for name, _ in cases("scan=a.nii.gz", "scan=p/02/t1.nii")] == ["a", "t1"]


def test_two_patterns_are_paired_in_sorted_order():
    assert cases("scan=p/*/t1.nii", "mask=p/*/t2.nii") == [
        ("01/t1", {"scan": "p/01/t1.nii", "mask": "p/01/t2.nii"}),
        ("02/t1", {"scan": "p/02/t1.nii", "mask": "p/02/t2.nii"}),
    ]


def test_a_file_whose_own_name_looks_like_a_pattern_is_that_file():
    assert cases("scan=odd[1].nii") == [("", {"scan": "odd[1].nii"})]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["scan=p/*/t1.nii", "mask=p/**/*.nii"], r"cannot be paired: their numbers differ \(scan: 2, mask: 4\)"),
        (["scan=*.mha"], r"scan: no file fits \*\.mha"),
        (["scan=p/01/t1.nii", "scan=p/02/t1.nii"], r"p/01/t1\.nii and p/02/t1\.nii would go to one folder"),
        (["scan=a.nii.gz", "scan=a.txt", "fast=1", "fast=2"], "fast: it is given 2 times"),
        (["scan"], "scan: write an input as <id>=<value>"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(texts, sentence):
    with pytest.raises(Unusable, match=sentence):
        cases(*texts)


def test_a_result_within_anothers_folder_is_refused(folder):
    (folder / "p/01.nii").touch()
    with pytest.raises(Unusable, match=r"the result of p/01/t1\.nii would go into that of p/01\.nii"):
        cases("scan=p/01.nii", "scan=p/**/t1.nii")
