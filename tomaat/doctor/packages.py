"""Look at Python and the installed packages. Standard library only: it runs where nothing is installed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from tomaat.doctor.finding import Finding, ok, warning, wrong

OLDEST, NEWEST = (3, 10), (3, 13)
DISTRIBUTION = "tomaat-server"
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;#]+)", re.MULTILINE)


def look_at_python(running: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """Tell whether this Python will do."""
    named = ".".join(map(str, running))
    if OLDEST <= running <= NEWEST:
        yield ok("Python", f"{named}, {sys.executable}")
    else:
        yield wrong("Python", f"it is {named}; 3.10 to 3.13 will do", "make PYTHON=/path/to/python3.11 demo")


def look_at_packages(requirements: Path, *, needed: bool) -> Iterator[Finding]:
    """Compare the installed packages with the versions that a file pins, or an installed server's metadata.

    Packages that are not ``needed`` are looked at in a clone only.
    """
    about, faults, missing = f"packages of {requirements.name}", [], []
    if requirements.is_file():
        pinned = PINNED.findall(requirements.read_text(encoding="utf-8"))
    elif needed:
        pinned = PINNED.findall("\n".join(requires(DISTRIBUTION) or ()))
    else:
        return
    for name, wanted in pinned:
        try:
            found = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        if found.partition("+")[0] != wanted:  # torch's says for which device it was built
            faults.append(f"{name} is {found}, not {wanted}")
    install = f"pip install {'' if needed else '--no-deps '}-r {requirements.name}"
    if missing:
        tell = wrong if needed else warning
        yield tell(about, f"not installed: {', '.join(missing)}", install)
    if faults:
        yield warning(about, f"others than were tested: {'; '.join(faults)}", install)
    if not missing and not faults:
        yield ok(about, f"{len(pinned)}, as pinned")
