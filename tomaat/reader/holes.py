"""Tell slices that are missing from a stack whose slices are unevenly spaced.

Gaps that follow each other and are about alike make a run; three or more are a region of the scan, which was taken at
its own spacing. A gap that is about twice as wide as those around it, or more, is no spacing: slices got lost there.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

ALIKE = 0.2  #: of a gap: how much those of one run may differ, and a hole from a whole number of them
REGION = 3  #: gaps in a row that are a region of the scan

Run = tuple[int, int]  #: the first gap and the one behind the last


def holes_in(gaps: Sequence[float]) -> list[tuple[int, float]]:
    """Find the gaps in which slices are missing, by their number, and the gap that would be right there.

    A gap is a hole where it is wider than the regions before and behind it, and about twice as wide as one of them, or
    more. A region that reaches an end of the stack is none. Where there is no region, the usual gap counts, if all gaps
    are about once, or twice as wide, or more.

    >>> holes_in([2, 2, 2, 4, 2, 2])
    [(3, 2.0)]
    >>> holes_in([2.5, 2.5, 2.5, 5, 5, 5]), holes_in([2, 2, 2, 3, 2, 2])
    ([], [])
    """
    runs = list(_runs(gaps))
    regions = [run for run in runs if run[1] - run[0] >= REGION]
    found = []
    for run in runs:
        first, behind = run
        if run in regions and (first == 0 or behind == len(gaps)):
            continue
        before = [region for region in regions if region[1] <= first][-1:]
        after = [region for region in regions if region[0] >= behind][:1]
        usual = [_mean(gaps, region) for region in before + after] or _usual(gaps)
        for place in range(first, behind):
            right = [one for one in usual if _times(gaps[place], one) > 1]
            if right and gaps[place] > max(usual) * (1 + ALIKE):
                found.append((place, right[0]))
    return found


def _runs(gaps: Sequence[float]) -> Iterator[Run]:
    first = 0
    for place in range(1, len(gaps) + 1):
        if place == len(gaps) or abs(gaps[place] - gaps[first]) > ALIKE * gaps[first]:
            yield first, place
            first = place


def _mean(gaps: Sequence[float], run: Run) -> float:
    return float(statistics.fmean(gaps[run[0] : run[1]]))


def _usual(gaps: Sequence[float]) -> list[float]:
    usual = float(statistics.median_low(gaps))
    return [usual] if all(_times(gap, usual) for gap in gaps) else []


def _times(gap: float, usual: float) -> int:
    """Tell how many times a gap is the usual one; 0 where it is neither about once, nor twice or more."""
    count = round(gap / usual)
    return count if count > 2 or abs(gap - count * usual) <= ALIKE * usual else 0  # noqa: PLR2004
