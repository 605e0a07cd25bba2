"""Duties in turn, in small parts, whatever one of them does."""

from contextlib import contextmanager

import pytest

from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.manager.duties import FEWEST_AT_ONCE, ROUND_SECONDS, Duties


def test_a_slow_database_is_asked_for_fewer_rows_and_a_quick_one_for_more():
    asked = []

    def duty(most):
        asked.append(most)
        if outcome == "away":
            raise DatabaseUnavailable("silent")
        clock.now += outcome
        return True

    clock = Clock()
    duties = Duties([duty])
    for outcome in (0.01, 0.01, 2.0, 2.0, "away", 0.01):
        with clock.patched(), pytest.MonkeyPatch.context():
            try:
                duties.do(4.0)
            except DatabaseUnavailable:
                assert outcome == "away"
    assert asked == [100, 200, 400, 200, 100, 25]
    outcome = 2.0
    for _ in range(8):
        with clock.patched():
            duties.do(4.0)
    assert asked[-1] == FEWEST_AT_ONCE


def test_a_refused_duty_ends_no_other(capsys):
    done = []

    def refused(_most):
        raise RowRefused("DataError 22008")

    def other(most):
        done.append(most)
        return False

    assert not Duties([refused, other]).do(1e9)
    assert done == [100]
    assert "refused" in capsys.readouterr().out


def test_duties_that_were_not_reached_in_a_round_come_first_in_the_next_and_then_the_turn_is_over():
    done = []
    clock = Clock()

    def duty(name, seconds):
        def do(_most):
            done.append(name)
            clock.now += seconds
            return name == "a"

        return do

    duties = Duties([duty("a", 0.6 * ROUND_SECONDS), duty("b", 0.6 * ROUND_SECONDS), duty("c", 0.0)])
    with clock.patched():
        assert duties.do(4.0), "c is left over"
        assert done == ["a", "b"]
        assert duties.do(4.0), "a has more to do"
        assert done == ["a", "b", "c"]
        duties.do(4.0)
    assert done == ["a", "b", "c", "a", "b"]


class Clock:
    """The own clock of the module, moved by a test."""

    now = 0.0

    @contextmanager
    def patched(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tomaat.manager.duties.time.monotonic", lambda: self.now)
            yield
