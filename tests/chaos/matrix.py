"""The fault matrix: which fault is tried at which moment, and why not where it is not."""

from __future__ import annotations

from tests.chaos.faults import DISK_FULL, FAULTS, Fault
from tests.chaos.moments import MOMENTS, Moment

FULL_AT = {"upload half way", "after claim", "result half written"}  #: moments before a write into the storage
CELLS = [(moment, fault) for fault in FAULTS for moment in MOMENTS]
DISK_CELLS = [(moment, DISK_FULL) for moment in MOMENTS if moment.name in FULL_AT]

#: The environment variable that says which part of the cells ``make test`` tries; the date says it where none does.
PART = "CHAOS_PART"
PARTS = 10

#: Faults that are tried otherwise than at these moments, and how.
OTHERWISE = {
    "disk of PostgreSQL full": "a whole load while the disk is full: whatever the database writes at any moment fails",
    "a task segfaults, is killed, exits, hangs, raises": "it runs at *mid-run* only; tried there, five ways",
    "the clock of a process an hour off": "a clock has no moment: a whole load, each door's clock off by another hour",
    "the clock of the database is set": "by an hour, by three days, and back, each while tickets run",
    "a task says what nothing can take": "NUL, half characters, 200 kB, infinite seconds; beside good neighbours",
    "200 slow clients of one address": "a whole load of others meanwhile",
    "two primaries of one database": "tests/integration/test_two_primaries.py: claims of both, completions of both",
}


def some_cells(part: int) -> list[tuple[Moment, Fault]]:
    """Return a tenth of the cells: each fault at one moment or two, each moment with one fault."""
    return [
        cell for number, cell in enumerate(CELLS) if (2 * (number // len(MOMENTS)) + number) % PARTS == part % PARTS
    ]


def why_not(moment: Moment, fault: Fault) -> str | None:
    """Tell why a fault is not tried at a moment."""
    if fault is DISK_FULL and moment.name not in FULL_AT:
        return "nothing is written into the storage right after it"
    return None


def table() -> str:
    """Draw the matrix as Markdown."""
    faults = [*FAULTS, DISK_FULL]
    lines = ["| moment | held is | " + " | ".join(fault.name for fault in faults) + " |"]
    lines.append("| --- " * (len(faults) + 2) + "|")
    for moment in MOMENTS:
        cells = ["–" if why_not(moment, fault) else "×" for fault in faults]
        lines.append(f"| {moment.name} | {moment.process} | " + " | ".join(cells) + " |")
    reasons = {(fault.name, why_not(moment, fault)) for fault in faults for moment in MOMENTS}
    lines += ["", "×: tried; –: not, for this reason:", ""]
    lines += [f"- *{name}*: {reason}." for name, reason in sorted(reasons, key=str) if reason]
    lines += ["", "Tried otherwise:", ""]
    lines += [f"- *{name}*: {how}." for name, how in OTHERWISE.items()]
    return "\n".join(lines) + "\n"
