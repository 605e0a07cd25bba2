"""A clock that was set is told from one that is slewed, and from a slow answer."""

from datetime import datetime, timezone

import pytest

from tomaat.manager.steady_clock import SteadyClock
from tomaat.tickets.manager_store import NO_TIME, Within

LEASE = 10.0


class Told:
    """A clock that tells what a test says, and takes a while to do so."""

    def __init__(self, monkeypatch):
        self.own, self.wall, self.takes, self.late = 0.0, 1e9, 0.0, True
        monkeypatch.setattr("tomaat.manager.steady_clock.time.monotonic", lambda: self.own)
        self.clock = SteadyClock(self.read, tolerance_seconds=LEASE)

    def read(self):
        told = self.wall + (self.takes if self.late else 0.0)
        self.own += self.takes
        self.wall += self.takes
        return datetime.fromtimestamp(told, tz=timezone.utc)

    def look(self, own, wall):
        self.own += own
        self.wall += wall
        return self.clock.look()


@pytest.fixture
def told(monkeypatch):
    return Told(monkeypatch)


def test_a_clock_that_is_slewed_is_steady_and_many_small_steps_are_one(told):
    assert all(told.look(1.0, 1.05) is None for _ in range(1000))
    steps = [told.look(1.0, 4.0) for _ in range(10)]
    assert any(steps)
    assert not told.clock.steady(10.0)


def test_a_slow_answer_is_no_step(told):
    for takes, late in (
        (0.0, True),
        (30.0, True),
        (0.0, True),
        (30.0, False),
        (30.0, True),
        (30.0, False),
        (0.0, True),
    ):
        told.takes, told.late = takes, late
        assert told.look(1.0, 1.0) is None, "whether the clock was read before the waiting or after it"


def test_before_the_first_reading_and_after_a_step_there_is_no_time_to_be_within(told):
    assert told.clock.within(5.0) == NO_TIME
    told.look(0.0, 0.0)
    within = told.clock.within(5.0)
    assert isinstance(within, Within)
    assert (within.latest - within.earliest).total_seconds() == 2 * LEASE
    assert told.look(1.0, 100.0) == pytest.approx(99.0)
    assert told.clock.within(5.0) == NO_TIME
    told.own += 5.0
    assert told.clock.within(5.0) != NO_TIME
    told.clock.note_step()
    told.clock.trust()
    assert told.clock.steady(1e9)
