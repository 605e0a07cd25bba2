"""What a lane hands to its worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tomaat.worker.report import Report

DRAFT = "result.tar.gz.part"  #: the result as the worker leaves it in ``out``, for the lane to seal
MOST_UNDER_WAY = 2  #: claimed tickets of one source: one performs, the other's result is packed and sealed


@dataclass(frozen=True, kw_only=True)
class Job:
    """One claim of one ticket, as the lane hands it over."""

    key: str  #: ticket and claim, so that a late "cancel" does not meet the next job
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
