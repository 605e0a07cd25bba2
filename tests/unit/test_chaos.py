"""Which cells of the fault matrix ``make test`` tries."""

from tests.chaos.faults import FAULTS
from tests.chaos.matrix import CELLS, PARTS, some_cells
from tests.chaos.moments import MOMENTS

DAYS = [some_cells(part) for part in range(PARTS)]


def test_each_cell_is_tried_once_in_ten_days():
    cells = [cell for day in DAYS for cell in day]
    assert len(cells) == len(CELLS)
    assert set(cells) == set(CELLS)


def test_each_day_has_each_fault_and_each_moment():
    for cells in DAYS:
        assert {fault for _, fault in cells} == set(FAULTS)
        assert {moment for moment, _ in cells} == set(MOMENTS)
