import threading
import time

import pytest

from tomaat.web.http import recent
from tomaat.web.http.recent import Recent


def test_a_value_is_read_again_once_it_is_too_old(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(recent.time, "monotonic", lambda: now[0])
    values = iter(range(10))
    kept = Recent(lambda: next(values), seconds=1.0)
    assert [kept.get(), kept.get()] == [0, 0]
    now[0] += 1.5
    assert [kept.get(), kept.get()] == [1, 1]


class Slow:
    """A reading that ends when it is let go."""

    def __init__(self):
        self.readings = 0
        self.going = threading.Event()
        self.go_on = threading.Event()

    def read(self):
        self.readings += 1
        if self.readings > 1:
            self.going.set()
            assert self.go_on.wait(30)
        return self.readings


def test_while_one_thread_reads_all_others_get_the_last_value():
    slow = Slow()
    kept = Recent(slow.read, seconds=30.0)
    assert kept.get() == 1
    kept.known = (time.monotonic() - 31, 1)
    reader = threading.Thread(target=kept.get)
    reader.start()
    assert slow.going.wait(30)
    assert [kept.get() for _ in range(20)] == [1] * 20
    assert slow.readings == 2
    slow.go_on.set()
    reader.join()
    assert kept.get() == 2


def test_a_value_that_is_far_too_old_is_given_to_nobody():
    slow = Slow()
    kept = Recent(slow.read, seconds=1.0)
    kept.get()
    kept.known = (time.monotonic() - 1000, 1)
    reader = threading.Thread(target=kept.get)
    reader.start()
    assert slow.going.wait(30)
    threading.Timer(0.2, slow.go_on.set).start()
    assert kept.get() == 3, "it was read for this caller, too"
    reader.join()


def test_a_reading_that_fails_lets_the_next_one_try():
    answers = iter([ValueError("away"), 7])

    def read():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    kept = Recent(read, seconds=1.0)
    with pytest.raises(ValueError, match="away"):
        kept.get()
    assert kept.turn.qsize() == 1
    assert kept.get() == 7


def test_a_reading_takes_a_twentieth_of_the_time_at_most(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(recent.time, "monotonic", lambda: now[0])
    readings = []

    def read():
        readings.append(now[0])
        now[0] += 0.5
        return len(readings)

    kept = Recent(read, seconds=1.0)
    kept.get()
    now[0] += 9.9
    assert kept.get() == 1, "it took half a second"
    now[0] += 0.2
    assert kept.get() == 2
