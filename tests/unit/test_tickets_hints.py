"""Which doors a move wakes."""

import pytest

from tomaat.database import CHANGED, QUEUED, SUBMITTED
from tomaat.tickets import states
from tomaat.tickets.hints import EVERY_DOOR, hints_of

HANDS_IT_TO_ANOTHER_DOOR = {
    (None, states.SUBMITTED, states.WEB): (SUBMITTED,),
    (states.SUBMITTED, states.QUEUED, states.MANAGER): (QUEUED, CHANGED),
    (states.QUEUED, states.QUEUED, states.MANAGER): (QUEUED, CHANGED),
    (states.QUEUED, states.SUBMITTED, states.MANAGER): (),
    (states.RUNNING, states.SUBMITTED, states.SCHEDULER): (SUBMITTED, CHANGED),
}
MOVES = {(move.before, move.after, move.door) for move in states.MOVES if move.door != states.RESTORE}


@pytest.mark.parametrize(("before", "after", "door"), sorted(MOVES, key=str))
def test_each_move_wakes_who_has_to_do_something_and_who_waits_for_it(before, after, door):
    expected = HANDS_IT_TO_ANOTHER_DOOR.get((before, after, door), (CHANGED,))
    assert hints_of(before, after, door) == expected


def test_the_channels_are_all_known():
    assert set(EVERY_DOOR) == {"tomaat_submitted", "tomaat_queued", "tomaat_changed"}
