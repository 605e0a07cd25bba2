"""A tenth of the fault matrix, and the checker's verdict over all that happened; `make chaos` tries all of it.

The seconds are told in the report of `make chaos`; here one fails only at ten times its bound.
"""

import os

import pytest

from tests.chaos import trials
from tests.chaos.disks import small_disk
from tests.chaos.faults import BOUNDS
from tests.chaos.matrix import DISK_CELLS, PART, some_cells
from tests.chaos.Stage import Stage
from tests.chaos.trial import run_cell
from tests.chaos.Verdict import assert_clean

CELLS_OF_TODAY = some_cells(int(os.environ[PART]))


@pytest.fixture(autouse=True)
def _told(request):
    """Tell with each failure how the same cells are tried again."""
    request.node.add_report_section("setup", "cells", f"{PART}={os.environ[PART]} make test tries these cells again.")


@pytest.fixture
def small_stage(tmp_path):
    """A stage whose storage and whose PostgreSQL lie on small disks."""
    try:
        with small_disk(128) as storage, small_disk(128) as database:
            made = Stage(tmp_path, storage=storage, database_disk=database)
            made.open()
            yield made
            made.close()
    except PermissionError as error:
        pytest.skip(str(error))


def run(stage, moment, fault):
    figures = run_cell(stage, moment, fault)
    assert not figures.get("needless reruns"), "a ticket that nothing had happened to was started again"
    for name, bound in BOUNDS.items():
        assert figures.get(name, 0) < 10 * bound, (name, figures)


@pytest.mark.parametrize(
    ("moment", "fault"), CELLS_OF_TODAY, ids=[f"{fault.name} · {moment.name}" for moment, fault in CELLS_OF_TODAY]
)
def test_a_fault_at_a_moment_is_recovered_from(stage, moment, fault):
    run(stage, moment, fault)


def test_after_all_of_this_nothing_is_lost_twice_stale_wrong_leaked_orphaned_or_stuck(stage):
    assert_clean(stage)


@pytest.mark.thorough
def test_full_disks_are_told_before_a_ticket_is_and_waited_out_after(small_stage):
    for moment, fault in DISK_CELLS:
        run(small_stage, moment, fault)
    assert trials.fill_the_database(small_stage) > 0
    assert_clean(small_stage)
    assert not small_stage.rows("SELECT FROM tickets WHERE attempts > 0")
