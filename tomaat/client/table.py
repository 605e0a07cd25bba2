"""A table of requests: label, service, ticket, state, and the ml of each label in the results; also as CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, TextIO

from tomaat.client.cohort import Errand
from tomaat.client.errors import Refused
from tomaat.client.place import NOTE, Place
from tomaat.client.unpack import RECORD

COLUMNS = ("label", "service", "ticket", "state")  #: as in the page's table; behind them one for each label
#: A spreadsheet takes a cell that begins so for a formula, and may run it; some take signs of full width, too.
BEGINS_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20\t\r\n")
SIGNIFICANT_DIGITS = 10  #: of a number
STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class Row:
    """One request."""

    label: str
    service: str
    ticket: int | None
    state: str
    volumes_ml: dict[str, float] = field(default_factory=dict)  #: by output and label: ``brain: left``

    def cells(self, names: Sequence[str]) -> list[str]:
        """Write its cells."""
        known = [self.label, self.service, "" if self.ticket is None else str(self.ticket), self.state]
        return [*known, *(number(self.volumes_ml.get(name)) for name in names)]


def row_of(errand: Errand) -> Row:
    """Describe an errand that has ended, or is on its way."""
    note = errand.place.note() or {}
    is_own = errand.payload is None or errand.state != "unsent"  # else the folder is another request's
    refused = isinstance(errand.error, Refused)
    return Row(
        label=(errand.payload.label if errand.payload else "") or errand.name or errand.place.folder.name,
        service=errand.payload.service if errand.payload else str(note.get("service") or ""),
        ticket=note.get("id") if is_own else None,
        state="refused" if refused else errand.state,
        volumes_ml={} if errand.result is None else volumes_of(errand.result.record),
    )


def rows_below(folder: Path, say: Callable[[str], object]) -> list[Row]:
    """Describe each result in a folder and below it, and each request that has none yet; ``say`` hears of others."""
    rows = []
    for place in sorted({path.parent for name in (RECORD, NOTE) for path in folder.rglob(name)}):
        parts = place.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue  # a result that is just being unpacked
        note = Place(place).note() or {}
        label = str(note.get("label") or Path(*parts or [folder.resolve().name]).as_posix())
        if not note.get("fetched", True) or not (place / RECORD).exists():  # a result may be an earlier request's
            rows.append(Row(label, str(note.get("service") or ""), note.get("id"), "not fetched"))
            continue
        try:
            record = json.loads((place / RECORD).read_bytes())
            service = str(record.get("service") or note.get("service") or "")
            rows.append(Row(label, service, note.get("id"), "succeeded", volumes_of(record)))
        except (AttributeError, KeyError, TypeError, ValueError):
            say(f"{place / RECORD} is no result, and is left out.")
    return rows


def volumes_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Give the volume in ml of each label in a ``result.json``."""
    return {
        f"{output['name']}: {label['name']}": float(label["ml"])
        for output in record["outputs"]
        for label in output.get("labels") or ()
    }


def names_in(rows: Iterable[Row]) -> list[str]:
    """Name the labels of all rows, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name in row.volumes_ml))


def table_lines(rows: Sequence[Row]) -> list[str]:
    """Write a table for people: columns of one width, numbers at the right."""
    names = names_in(rows)
    cells = [[*COLUMNS, *(f"{name} (ml)" for name in names)], *(row.cells(names) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return [
        "  ".join(
            cell.ljust(width) if place < len(COLUMNS) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in cells
    ]


def write_csv(rows: Sequence[Row], to: Path) -> None:
    """Write a CSV file: comma, UTF-8 with the mark by which a spreadsheet knows it; ``-`` is standard output."""
    if to == STANDARD_OUTPUT:
        _write(rows, sys.stdout)
    else:
        with to.open("w", encoding="utf-8-sig", errors="replace", newline="") as file:
            _write(rows, file)


def _write(rows: Sequence[Row], file: TextIO) -> None:
    names = names_in(rows)
    end = "\n" if file is sys.stdout else "\r\n"
    lines = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)  # some spreadsheets part cells by semicolons
    lines.writerow([*COLUMNS, *(harmless(f"{name} (ml)") for name in names)])
    lines.writerows([harmless(cell) for cell in row.cells(names)] for row in rows)


def harmless(cell: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; people see it and know why.

    >>> harmless("=HYPERLINK(1)"), harmless("-1"), harmless("head=7")
    ("'=HYPERLINK(1)", "'-1", 'head=7')
    """
    return f"'{cell}" if cell.lstrip(" ").startswith(BEGINS_FORMULA) else cell


def number(value: float | None) -> str:
    """Write a number as the page's table does.

    >>> number(1910.072), number(5.0), number(None)
    ('1910.072', '5', '')
    """
    return "" if value is None else f"{value:.{SIGNIFICANT_DIGITS}g}"


def row_as_json(row: Row) -> dict[str, Any]:
    """Describe a row for programs."""
    known = dict(zip(COLUMNS, (row.label, row.service, row.ticket, row.state)))
    return {**known, "volumes_ml": row.volumes_ml}
