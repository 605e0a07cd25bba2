"""On a machine with Python and make alone, tests are skipped by the names of the programs that they need."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.needs import INSTALLER, need, told
from tests.service import REPOSITORY


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A PATH on which there is only a shell."""
    (tmp_path / "sh").symlink_to(shutil.which("sh"))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_missing_program_is_named_with_the_command_that_brings_it(bare):
    with pytest.raises(pytest.skip.Exception, match=f"^zsh is not here; {INSTALLER} brings it$"):
        need("zsh")


def test_a_program_that_the_command_does_not_bring_cannot_be_needed():
    with pytest.raises(AssertionError, match=f"{INSTALLER} does not bring python9"):
        need("python9")


@pytest.mark.slow
@pytest.mark.parametrize("processes", [0, 2])
def test_a_runs_last_lines_tell_what_was_skipped_and_which_command_brings_it(bare, processes):
    some = ("tests/integration/test_client_shells.py", "tests/unit/test_archives_unpack.py")
    command = [sys.executable, "-m", "pytest", f"-n{processes}", "-k", "fish or zsh or bsdtar", *some]
    run = subprocess.run(command, cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    *_, sentence, last = run.stdout.splitlines()
    assert sentence == f"3 tests were skipped for want of bsdtar, fish, zsh: {INSTALLER} brings what is missing."
    assert "3 skipped" in last


def test_other_reasons_are_not_counted():
    other, missing = "Skipped: only root can mount", f"Skipped: zsh is not here; {INSTALLER} brings it"
    assert told([other, missing]) == f"1 test was skipped for want of zsh: {INSTALLER} brings what is missing."
    assert told([other]) is None
