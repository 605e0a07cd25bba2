import time

from tomaat.scheduling.limits import Limits


def test_the_first_moment_that_comes_counts():
    limits = Limits(deadline_seconds=3600)
    assert limits.due() is None
    assert limits.allow("stopped", 0.0)
    assert limits.due() == "stopped"


def test_a_reason_that_counts_already_gets_no_longer():
    limits = Limits(deadline_seconds=3600)
    assert limits.allow("stopped", 0.0)
    assert not limits.allow("stopped", 3600)
    assert limits.due() == "stopped"


def test_of_a_ticket_that_was_performed_only_packing_and_the_doors_stop_count():
    limits = Limits(deadline_seconds=0.0)
    limits.allow("too_slow_to_cancel", 0.0)
    assert limits.due() == "deadline"
    limits.allow_packing(3600)
    assert limits.due() is None
    limits.allow("stopped", 0.0)
    limits.allow_packing(3600)
    assert limits.due() == "stopped"


def test_no_wait_reaches_beyond_the_next_moment():
    limits = Limits(deadline_seconds=3600)
    assert limits.left(5.0) == 5.0
    limits.allow("stopped", 1.0)
    assert 0.0 < limits.left(5.0) <= 1.0
    limits.moments["deadline"] = time.monotonic() - 1
    assert limits.left(5.0) == 0.0
    assert limits.due() == "deadline"
