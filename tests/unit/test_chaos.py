"""Which cells of the fault matrix ``make test`` tries."""

from tests.chaos.faults import FAULTS
from tests.chaos.matrix import CELLS, some_cells
from tests.chaos.moments import MOMENTS

THIRDS = [some_cells(third) for third in range(3)]


def test_each_cell_is_tried_once_in_three_days():
    cells = [cell for third in THIRDS for cell in third]
    assert len(cells) == len(CELLS)
    assert set(cells) == set(CELLS)


def test_each_day_has_each_fault_and_each_moment():
    for cells in THIRDS:
        assert {fault for _, fault in cells} == set(FAULTS)
        assert {moment for moment, _ in cells} == set(MOMENTS)
