"""A few thousand mutations; ``python3 -m tests.fuzz 1000000`` does more."""

import pytest

from tests.fuzz import fuzz_archives, fuzz_headers, fuzz_zips


@pytest.mark.slow
def test_mutated_archives_are_taken_or_refused_and_nothing_else():
    told = fuzz_archives(4000, seed=1)
    assert told["taken"] > 100, "mutations come far enough to matter"
    assert len(told) > 10


@pytest.mark.slow
def test_mutated_headers_are_taken_or_refused_and_nothing_else():
    told = fuzz_headers(4000, seed=1)
    assert told["taken"] > 100, "mutations come far enough to matter"
    assert len(told) > 10


@pytest.mark.slow
def test_mutated_zips_are_taken_or_refused_and_nothing_else():
    told = fuzz_zips(4000, seed=1)
    assert told["taken"] > 20, "mutations come far enough to matter"
    assert len(told) > 5
