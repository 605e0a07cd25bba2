"""Rules for tests: they run in any order and on any machine, and unit tests need nothing."""

import re

import pytest

from tests.service import REPOSITORY

TESTS = REPOSITORY / "tests"
CHANGES_THE_USER = re.compile(r"\bos\.set(e|re|res)?[ug]id\b|\bos\.(initgroups|setgroups)\b")
#: Processes of their own, which become somebody else, or texts of such programs.
OF_ANOTHER_USER = {"nobody.py", "confined.py", "opened.py", "test_processes_private.py"}
NEEDS_MORE = re.compile(
    r"\b(postgres_url|make_database|own_service|make_service|evaluate|tests\.data)\b|\.backward\(|\btrain\.main\("
)


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_changes_the_user_of_the_process_that_runs_all(path):
    assert path.name in OF_ANOTHER_USER or not CHANGES_THE_USER.search(path.read_text())


@pytest.mark.parametrize("path", sorted((TESTS / "unit").glob("*.py")), ids=lambda path: path.name)
def test_a_unit_test_needs_no_database_no_service_no_download_and_trains_nothing(path):
    assert path.name == "test_tests.py" or not NEEDS_MORE.search(path.read_text())
