"""Each mutant still fits the code, so that a guard that was rewritten is not forgotten."""

import pytest

from tools.mutants import MUTANTS, REPOSITORY


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_the_text_that_a_mutant_replaces_is_in_the_code_once(mutant):
    assert (REPOSITORY / mutant.file).read_text().count(mutant.old) == 1


def test_each_guard_has_a_line_in_the_document():
    document = (REPOSITORY / "docs/evidence/mutants.md").read_text()
    assert [mutant.guard for mutant in MUTANTS if f"| {mutant.guard} | " not in document] == []
