"""The database itself refuses every move that the table of moves lacks."""

import itertools
from contextlib import contextmanager

import pytest

from tests.integration.conftest import Bench
from tomaat.database import RowRefused, connect, migrate, run
from tomaat.tickets.states import ENDED, MOVES, QUEUED, STATES, SUCCEEDED, WAITING

PERMITTED = {(move.before, move.after) for move in MOVES}
#: The other columns are given what any state demands of them.
MOVE = """UPDATE tickets SET state = :state, finished = CASE WHEN :ended THEN clock_timestamp() END,
    result_sha256 = 'x', result_bytes = 1, source = 'here/cpu-0', epoch = 1
    WHERE id = :id"""
INSERT = """INSERT INTO tickets (token_hash, service, interface_hash, folder, state, finished, result_sha256,
    result_bytes, source, epoch) VALUES ('x', 'Add', 'Add-1', :folder, :state,
    CASE WHEN :ended THEN clock_timestamp() END, 'x', 1, 'here/cpu-0', 1)"""


@pytest.fixture(scope="module")
def bench(make_database):
    """One database for all pairs."""
    database = connect(make_database(), deadline_seconds=30)
    migrate(database)
    yield Bench(database)
    database.dispose()


def in_state(bench, state):
    ticket = bench.submit()
    bench.force(MOVE, state=state, ended=state in ENDED, id=ticket.id)
    assert bench.read(ticket).state == state
    return ticket


@contextmanager
def refused(words):
    """PostgreSQL refuses the row, in these words; no outage, and nobody tries again."""
    with pytest.raises(RowRefused) as told:
        yield
    assert words in str(told.value.__cause__)
    assert words not in str(told.value), "PostgreSQL's words may hold a value"


def move(bench, ticket, after):
    run(bench.database, MOVE, state=after, ended=after in ENDED, id=ticket.id)


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(STATES, 2)))
def test_a_ticket_goes_only_where_the_table_of_moves_lets_it(bench, before, after):
    ticket = in_state(bench, before)
    if (before, after) in PERMITTED:
        move(bench, ticket, after)
        assert bench.read(ticket).state == after
    else:
        with refused(f"a ticket does not go from {before} to {after}"):
            move(bench, ticket, after)
        assert bench.read(ticket).state == before


@pytest.mark.parametrize("state", STATES)
def test_a_ticket_begins_only_where_it_waits(bench, state):
    values = {"state": state, "folder": f"begun-{state}", "ended": state in ENDED}
    if state in WAITING:
        run(bench.database, INSERT, **values)
    else:
        with refused(f"a ticket does not go from nothing to {state}"):
            run(bench.database, INSERT, **values)


@pytest.mark.parametrize("state", STATES)
def test_what_leaves_the_state_as_it_is_is_no_move(bench, state):
    ticket = in_state(bench, state)
    move(bench, ticket, state)
    run(bench.database, "UPDATE tickets SET progress = 0.5, stage = 'x' WHERE id = :id", id=ticket.id)
    assert bench.read(ticket).stage == "x"


def test_one_wrong_move_of_many_undoes_the_whole_statement(bench):
    right, wrong = in_state(bench, QUEUED), in_state(bench, SUCCEEDED)
    update = "UPDATE tickets SET state = 'running', finished = NULL WHERE id = ANY(:ids)"
    with refused("from succeeded to running"):
        run(bench.database, update, ids=[right.id, wrong.id])
    assert bench.read(right).state == QUEUED
