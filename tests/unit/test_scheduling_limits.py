import time

from tomaat.scheduling.ends import Cancel, Fail, PutBack, SpendAttempt
from tomaat.scheduling.limits import Limits

LATE = Fail(problem={}, reason="deadline")


def limits(deadline_seconds=3600.0):
    made = Limits()
    assert made.allow(deadline_seconds, LATE)
    return made


def test_the_first_moment_that_comes_counts():
    made = limits()
    assert made.due() is None
    assert made.allow(0.0, PutBack())
    assert made.due() == PutBack()


def test_an_end_that_counts_already_gets_no_longer():
    made = limits()
    assert made.allow(0.0, PutBack())
    assert not made.allow(3600, PutBack())
    assert made.due() == PutBack()


def test_of_a_ticket_that_was_performed_only_packing_and_the_doors_stop_count():
    made = limits(0.0)
    made.allow(0.0, Cancel())
    assert made.due() == LATE
    made.allow_packing(3600)
    assert made.due() is None
    made.allow(0.0, PutBack())
    made.allow_packing(3600)
    assert made.due() == PutBack()


def test_packing_that_takes_too_long_spends_an_attempt():
    made = limits()
    made.allow_packing(0.0)
    assert isinstance(made.due(), SpendAttempt)


def test_no_wait_reaches_beyond_the_next_moment():
    assert Limits().left(5.0) == 5.0
    made = limits()
    assert made.left(5.0) == 5.0
    made.allow(1.0, PutBack())
    assert 0.0 < made.left(5.0) <= 1.0
    made.moments[Fail] = (time.monotonic() - 1, LATE)
    assert made.left(5.0) == 0.0
    assert made.due() == LATE
