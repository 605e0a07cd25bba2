"""The table of moves, and what the database is told of it."""

from tomaat.database.migrate import MIGRATIONS
from tomaat.tickets.states import ENDED, MOVES, STATES, UNENDED, WAITING
from tools.state_trigger import triggers


def test_the_newest_migration_with_the_triggers_has_the_table_of_moves():
    written = [text for path in sorted(MIGRATIONS.glob("*.sql")) if "refuse_move()" in (text := path.read_text())]
    assert written[-1] == triggers(), "write a new migration: python3 -m tools.state_trigger"


def test_each_state_is_reached_and_only_results_leave_an_end():
    assert {move.after for move in MOVES} == set(STATES)
    assert {move.after for move in MOVES if move.before is None} == WAITING
    assert {(move.before, move.after) for move in MOVES if move.before in ENDED} == {("succeeded", "expired")}
    assert not UNENDED & ENDED
    assert WAITING < UNENDED
