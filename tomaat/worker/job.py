"""One claim of one ticket, as the lane hands it to its worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tomaat.worker.report import Report


@dataclass(frozen=True, kw_only=True)
class Job:
    """The fields of ``Perform``, and the report through which the task answers."""

    key: str  #: ticket and claim
    service: str
    inputs: Path
    out: Path
    source: str
    report: Report

    @property
    def facts(self) -> dict[str, int]:
        """Say in the log which claim of which ticket this is."""
        ticket, claim = self.key.split("/")
        return {"ticket": int(ticket), "claim": int(claim)}
