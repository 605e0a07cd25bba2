"""Programs that some tests need beside Python and make: where one is missing, these tests are skipped by its name."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.service import REPOSITORY

INSTALLER = "tools/install_debian_packages.sh"
MISSING = re.compile(r"(\S+) is not here; \S+ brings it$")


def need(*programs: str) -> None:
    """Skip a test, or all that use a fixture, where a program or, by its path, a file is missing.

    Raises ``AssertionError`` where the installer does not bring it: then nobody is told how to get it.
    """
    brought = (REPOSITORY / INSTALLER).read_text().split()
    for program in programs:
        assert program in brought, f"{INSTALLER} does not bring {program}"
        if shutil.which(program) is None and not Path(program).is_file():
            pytest.skip(f"{program} is not here; {INSTALLER} brings it")


def told(reasons: Iterable[str]) -> str | None:
    """Say in one sentence how many of the skipped tests lacked which programs, and which command brings these."""
    found = [match[1] for reason in reasons if (match := MISSING.search(reason))]
    if not found:
        return None
    count = "1 test was" if len(found) == 1 else f"{len(found)} tests were"
    return f"{count} skipped for want of {', '.join(sorted(set(found)))}: {INSTALLER} brings what is missing."
