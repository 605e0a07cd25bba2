import itertools
from unittest import mock

from tomaat.manager import resisting
from tomaat.manager.resisting import LONGEST_PAUSE_SECONDS, Resisting


def test_what_resists_is_tried_ever_more_seldom_and_told_once_an_hour():
    resists, now, tries, said = Resisting(), 1000.0, [], []
    with mock.patch.object(resisting.time, "monotonic", side_effect=lambda: now):
        for _ in range(24 * 3600):
            if resists.due(7):
                tries.append(now)
                if resists.note(7):
                    said.append(now)
            now += 1.0
    assert [later - earlier for earlier, later in itertools.pairwise(tries)][:4] == [1.0, 2.0, 4.0, 8.0]
    assert len(tries) < 40
    assert len(said) <= 24
    assert min(later - earlier for earlier, later in itertools.pairwise(said)) >= LONGEST_PAUSE_SECONDS


def test_what_is_gone_is_forgotten():
    resists = Resisting()
    for ticket in range(1000):
        assert resists.note(ticket)
    assert not resists.due(3)
    resists.keep([3])
    assert list(resists.troubles) == [3]
    assert resists.due(4)
