"""The findings of the doctor."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    level: str
    says: str
    mend: str | None = None  #: the remedy


def ok(about: str, says: str) -> Finding:
    """Make the finding that something is well."""
    return Finding(about=about, level=OK, says=says)


def warning(about: str, says: str, mend: str) -> Finding:
    """Make the finding that something may hurt later, or is not there yet."""
    return Finding(about=about, level=WARNING, says=says, mend=mend)


def wrong(about: str, says: str, mend: str) -> Finding:
    """Make the finding that the service cannot run like this, or loses tickets."""
    return Finding(about=about, level=PROBLEM, says=says, mend=mend)
