"""Tell slices that are missing from a stack whose slices are unevenly spaced.

Gaps that follow each other and are about alike make a run. Three or more of them at an end of the stack are a region of
the scan, which was taken at its own spacing. Any other gap that is nearly twice as wide as those around it is no
spacing: slices got lost there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

ALIKE = 0.2  #: of a gap: how much those of one run may differ
ROUNDED_MM = 0.101  #: or so much: positions are often rounded to 0.1 mm
REGION = 3  #: gaps in a row that are a region of the scan, at an end
NEAR = 5  #: gaps on either side of a run that tell the usual one there
HOLE = 1.8  #: times the usual gap
MOST = 3  #: times the usual gap, in a region too

Run = tuple[int, int]  #: the first gap and the one behind the last


def holes_in(gaps: Sequence[float]) -> list[tuple[int, float]]:
    """Find the gaps (mm) in which slices are missing, by their number, and the gap that would be right there.

    A gap is a hole from 1.8 times the usual one before or behind it on, where it is wider than both; it is none in a
    region at an end of the stack. Beyond three times the usual gap it is a hole in any case.

    >>> holes_in([2, 2, 2, 4, 2, 2])
    [(3, 2.0)]
    >>> holes_in([2.5, 2.5, 2.5, 5, 5, 5]), holes_in([2, 2, 2, 3, 2, 2])
    ([], [])
    """
    found = []
    for first, behind in _runs(gaps):
        sides = [side for side in (gaps[max(first - NEAR, 0) : first], gaps[behind : behind + NEAR]) if side]
        usual = [_usual(side) for side in sides]
        region = behind - first >= REGION and len(sides) == 1
        for place in range(first, behind) if usual else ():
            gap = gaps[place]
            wide = gap + ROUNDED_MM / 2 >= HOLE * min(usual)
            alone = not region and gap > max(usual) * (1 + ALIKE)
            if wide and (alone or gap > MOST * min(usual) + ROUNDED_MM):
                found.append((place, min(usual)))
    return found


def _runs(gaps: Sequence[float]) -> Iterator[Run]:
    first, low, high = 0, math.inf, 0.0
    for place, gap in enumerate(gaps):
        low, high = min(low, gap), max(high, gap)
        if place > first and not _alike(low, high):
            yield first, place
            first, low, high = place, gap, gap
    if gaps:
        yield first, len(gaps)


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= max(ALIKE * min(one, other), ROUNDED_MM)


def _usual(gaps: Sequence[float]) -> float:
    middle = statistics.median_low(gaps)
    return statistics.fmean(gap for gap in gaps if _alike(gap, middle))
