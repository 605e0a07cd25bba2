"""Each mutant still fits the code, so that a guard that was rewritten is not forgotten."""

import pytest

from tests.mutants.mutants import REPORT, REPOSITORY, read_all

MUTANTS = read_all()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_text_that_a_mutant_replaces_is_in_the_code_once(mutant):
    assert (REPOSITORY / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.new != mutant.old


@pytest.mark.parametrize("named", sorted({test for mutant in MUTANTS for test in mutant.tests}))
def test_a_test_that_should_notice_a_mutant_is_there(named):
    file, _, test = named.partition("::")
    assert f"def {test}(" in (REPOSITORY / file).read_text() if test else (REPOSITORY / file).is_file()


def test_each_guard_stands_once_and_has_a_line_in_the_document():
    guards = [mutant.guard for mutant in MUTANTS]
    assert len(guards) == len(set(guards))
    document = REPORT.read_text()
    assert [guard for guard in guards if f"| {guard} | " not in document] == []
