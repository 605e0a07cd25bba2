"""Which doors a move wakes, and about what."""

import pytest

from tomaat.database import CHANGED, QUEUED, SUBMITTED, WISHED, Hint
from tomaat.tickets import states
from tomaat.tickets.hints import EVERY_DOOR, hints_about, hints_of, hints_of_wish

SOURCE = "here/cpu-0"
TICKET = Hint(CHANGED, "7")
HANDS_IT_TO_ANOTHER_DOOR = {
    (None, states.SUBMITTED, states.WEB): (Hint(SUBMITTED),),
    (states.SUBMITTED, states.QUEUED, states.MANAGER): (Hint(QUEUED, SOURCE), TICKET),
    (states.QUEUED, states.QUEUED, states.MANAGER): (Hint(QUEUED, SOURCE), TICKET),
    (states.QUEUED, states.SUBMITTED, states.MANAGER): (),
    (states.RUNNING, states.SUBMITTED, states.SCHEDULER): (Hint(SUBMITTED), TICKET),
}
MOVES = {(move.before, move.after, move.door) for move in states.MOVES if move.door != states.RESTORE}


@pytest.mark.parametrize(("before", "after", "door"), sorted(MOVES, key=str))
def test_each_move_wakes_who_has_to_do_something_and_who_waits_for_it(before, after, door):
    expected = HANDS_IT_TO_ANOTHER_DOOR.get((before, after, door), (TICKET,))
    told = hints_of(before, after, door, ticket=7, source=SOURCE)
    assert told == expected
    ended = after not in states.UNENDED
    assert all(hint.soon is (ended or hint.channel != CHANGED) for hint in told), "only who waits for an end hurries"


def test_a_wish_about_a_ticket_wakes_its_source_alone():
    assert hints_of_wish(7, SOURCE) == (Hint(SUBMITTED), Hint(WISHED, SOURCE), TICKET)
    assert hints_of_wish(7, None) == (Hint(SUBMITTED), TICKET)
    assert Hint(QUEUED, SOURCE) in hints_about(SOURCE)


def test_the_channels_are_all_known():
    assert {hint.channel for hint in EVERY_DOOR} == {SUBMITTED, QUEUED, WISHED, CHANGED}
