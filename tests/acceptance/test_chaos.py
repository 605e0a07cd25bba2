"""A third of the fault matrix, and the checker's verdict over all that happened; `make chaos` tries all of it.

The seconds are told in the report of `make chaos`; here one fails only at ten times its bound.
"""

import pytest

from tests.chaos import trials
from tests.chaos.disks import small_disk
from tests.chaos.faults import BOUNDS
from tests.chaos.matrix import DISK_CELLS, SOME_CELLS
from tests.chaos.Stage import Stage
from tests.chaos.trial import run_cell
from tests.chaos.Verdict import check
from tests.needs import need

CLEAN = dict.fromkeys(("lost", "accepted_twice", "stale_accepted", "wrong", "leaked", "orphan_files", "stuck"), 0)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    made = Stage(tmp_path_factory.mktemp("stage"))
    made.open()
    yield made
    made.close()


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


def assert_clean(stage, expected=None):
    verdict = check(stage, expected)
    assert verdict.faults == CLEAN, "\n".join(verdict.evidence[:20])


def run(stage, moment, fault):
    figures = run_cell(stage, moment, fault)
    assert not figures.get("needless reruns"), "a ticket that nothing had happened to was started again"
    for name, bound in BOUNDS.items():
        assert figures.get(name, 0) < 10 * bound, (name, figures)


@pytest.mark.parametrize(
    ("moment", "fault"), SOME_CELLS, ids=[f"{fault.name} · {moment.name}" for moment, fault in SOME_CELLS]
)
def test_a_fault_at_a_moment_is_recovered_from(stage, moment, fault):
    run(stage, moment, fault)


def test_an_outage_of_postgresql_longer_than_a_lease_reruns_nothing_and_spends_no_attempt(stage):
    assert set(trials.outlast_an_outage(stage)) == {(1, 0)}


def test_clocks_an_hour_off_change_nothing(stage, tmp_path):
    need("gcc", "/usr/include/stdio.h")
    trials.shift_clocks(stage, trials.build_clock(tmp_path))


def test_a_database_whose_clock_is_set_starts_fails_and_deletes_nothing(tmp_path):
    own = Stage(tmp_path)
    try:
        own.open()
        assert trials.step_the_database_clock(own) == {"started again": 0, "attempts": 0, "failed or expired": 0}
        assert_clean(own)
    finally:
        own.close()


def test_slow_clients_of_one_address_keep_nobody_away(tmp_path):
    own = Stage(tmp_path, TRUSTED_PROXIES="[]")
    try:
        own.open()
        assert 0 < trials.outlast_slow_clients(own) <= 50
        assert_clean(own)
    finally:
        own.close()


def test_random_kills_under_load_are_recovered_from(stage):
    trials.kill_at_random(stage, kills=20, seed=20261124)


def test_after_all_of_this_nothing_is_lost_twice_stale_wrong_leaked_orphaned_or_stuck(stage):
    assert_clean(stage)


def test_tasks_that_behave_badly_harm_no_neighbour(tmp_path):
    own = Stage(tmp_path, ATTEMPTS="2")
    try:
        own.open()
        assert_clean(own, trials.behave_badly(own))
    finally:
        own.close()


def test_full_disks_are_told_before_a_ticket_is_and_waited_out_after(small_stage):
    for moment, fault in DISK_CELLS:
        run(small_stage, moment, fault)
    assert trials.fill_the_database(small_stage) > 0
    assert_clean(small_stage)
    assert not small_stage.rows("SELECT FROM tickets WHERE attempts > 0")
