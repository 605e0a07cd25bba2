"""The trials that are no cell of the fault matrix, and the checker's verdict over all that happened."""

import pytest

from tests.chaos import trials
from tests.chaos.Stage import Stage
from tests.chaos.Verdict import assert_clean
from tests.needs import need


def test_an_outage_of_postgresql_longer_than_a_lease_reruns_nothing_and_spends_no_attempt(stage):
    assert set(trials.outlast_an_outage(stage)) == {(1, 0)}


@pytest.mark.thorough
def test_clocks_an_hour_off_change_nothing(stage, tmp_path):
    need("gcc", "/usr/include/stdio.h")
    trials.shift_clocks(stage, trials.build_clock(tmp_path))


@pytest.mark.thorough
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


@pytest.mark.thorough
def test_tasks_that_behave_badly_harm_no_neighbour(tmp_path):
    own = Stage(tmp_path, ATTEMPTS="2")
    try:
        own.open()
        assert_clean(own, trials.behave_badly(own))
    finally:
        own.close()
