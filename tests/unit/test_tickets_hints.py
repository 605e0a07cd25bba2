"""Which doors a move wakes, and about what."""

import pytest

from tomaat.database import ENDED, MOVED, QUEUED, SUBMITTED, WISHED, Hint
from tomaat.tickets import states
from tomaat.tickets.hints import EVERY_DOOR, hints_about, hints_of, hints_of_wish

SOURCE = "here/cpu-0"
GOES_ON = Hint(MOVED, "7")
ENDS = Hint(ENDED, "7")
HANDS_IT_TO_ANOTHER_DOOR = {
    (None, states.SUBMITTED, states.WEB): (Hint(SUBMITTED),),
    (None, states.QUEUED, states.WEB): (Hint(QUEUED, SOURCE),),
    (states.SUBMITTED, states.QUEUED, states.MANAGER): (GOES_ON, Hint(QUEUED, SOURCE)),
    (states.QUEUED, states.QUEUED, states.MANAGER): (GOES_ON, Hint(QUEUED, SOURCE)),
    (states.QUEUED, states.SUBMITTED, states.MANAGER): (),
    (states.RUNNING, states.SUBMITTED, states.SCHEDULER): (GOES_ON, Hint(SUBMITTED)),
}
MOVES = {(move.before, move.after, move.door) for move in states.MOVES if move.door != states.RESTORE}


@pytest.mark.parametrize(("before", "after", "door"), sorted(MOVES, key=str))
def test_each_move_wakes_who_has_to_do_something_and_who_waits_for_it(before, after, door):
    expected = HANDS_IT_TO_ANOTHER_DOOR.get((before, after, door), (ENDS if after in states.ENDED else GOES_ON,))
    told = hints_of(before, after, door, ticket=7, source=SOURCE)
    assert told == expected
    assert all(hint.soon is (hint.channel != MOVED) for hint in told), "who waits for a beginning can wait longer"


def test_a_wish_about_a_ticket_wakes_its_source_alone():
    assert hints_of_wish(7, SOURCE) == (Hint(SUBMITTED), Hint(WISHED, SOURCE), ENDS)
    assert hints_of_wish(7, None) == (Hint(SUBMITTED), ENDS)
    assert Hint(QUEUED, SOURCE) in hints_about(SOURCE)


def test_the_channels_are_all_known():
    assert {hint.channel for hint in EVERY_DOOR} == {SUBMITTED, QUEUED, WISHED, MOVED, ENDED}
