"""Statements that PostgreSQL plans once for a connection, and what happens where it knows them no longer."""

import json
import sys

import pytest

from tomaat.database import RowRefused, connect, run, run_prepared

ADD = "SELECT CAST(:a AS integer) + 1 AS more"


@pytest.fixture
def one(database):
    """A pool of one connection, so that each statement finds what the last one left there."""
    pool = connect(database.url.render_as_string(hide_password=False), deadline_seconds=10, pool_size=1)
    yield pool
    pool.dispose()


def plans(database):
    return [tuple(row) for row in run(database, "SELECT generic_plans, custom_plans FROM pg_prepared_statements")]


def test_a_statement_is_planned_once_for_all_its_values(one):
    assert [run_prepared(one, ADD, a=a)[0].more for a in (1, 2, 3)] == [2, 3, 4]
    assert plans(one) == [(3, 0)]


def test_values_of_all_kinds_arrive_as_they_were_sent(one):
    sql = """SELECT CAST(:number AS double precision) AS number, CAST(:word AS text) || ' 100% ' || :word AS word,
               CAST(:ids AS bigint[]) AS ids, CAST(:none AS text) AS none, CAST(:yes AS boolean) AS yes,
               CAST(:raw AS bytea) AS raw, CAST(:facts AS jsonb)->>'a' AS fact, 7 % 4 AS rest"""
    values = {"number": 0.3, "word": "it's $1 :x %s", "ids": [3, 4], "none": None, "yes": True, "raw": b"\0'\\"}
    (row,) = run_prepared(one, sql, **values, facts=json.dumps({"a": "ü"}))
    assert (row.number, row.word, row.ids) == (0.3, "it's $1 :x %s 100% it's $1 :x %s", [3, 4])
    assert (row.none, row.yes, bytes(row.raw), row.fact, row.rest) == (None, True, b"\0'\\", "ü", 3)
    assert run_prepared(one, "SELECT CAST(:ids AS bigint[]) AS ids", ids=[])[0].ids == []


def test_a_plan_is_made_again_after_a_while_since_tables_grow(one, monkeypatch):
    run_prepared(one, ADD, a=1)
    monkeypatch.setattr(sys.modules["tomaat.database.run"], "PLAN_SECONDS", 0.0)
    assert run_prepared(one, ADD, a=1)[0].more == 2
    assert plans(one) == [(1, 0)], "it is another one"


def test_a_session_that_does_not_know_the_statement_runs_it_all_the_same(one):
    """A pooler may give each statement another session."""
    run_prepared(one, ADD, a=1)
    run(one, "DEALLOCATE ALL")
    assert run_prepared(one, ADD, a=2)[0].more == 3
    assert run_prepared(one, ADD, a=3)[0].more == 4
    assert plans(one) == [(1, 0)]


def test_a_session_that_knows_the_statement_already_runs_it_all_the_same(one):
    run_prepared(one, ADD, a=1)
    borrowed = one.raw_connection()
    borrowed.info.clear()
    borrowed.close()
    assert [run_prepared(one, ADD, a=a)[0].more for a in (2, 3)] == [3, 4]
    assert plans(one) == [(1, 0)], "it is prepared anew"


def test_a_table_that_has_changed_is_read_as_it_is_now(one):
    run(one, "CREATE TABLE growing AS SELECT 1 AS a")
    assert run_prepared(one, "SELECT * FROM growing")[0].a == 1
    run(one, "ALTER TABLE growing ADD b text DEFAULT 'new'")
    for _ in range(3):
        assert run_prepared(one, "SELECT * FROM growing")[0].b == "new"
    assert plans(one) == [(2, 0)], "the first one told that the table has changed; then it is prepared anew"


@pytest.mark.parametrize("value", ["a\0b", "\udce9"])
def test_a_value_that_cannot_be_stored_is_refused(one, value):
    with pytest.raises(RowRefused):
        run_prepared(one, "SELECT CAST(:word AS text) AS word", word=value)
    assert run_prepared(one, ADD, a=1)[0].more == 2


def test_a_refused_row_is_named_and_the_connection_goes_on(one):
    run(one, "CREATE TABLE few (a integer CHECK (a < 3))")
    sql = "INSERT INTO few VALUES (:a) RETURNING a"
    with pytest.raises(RowRefused):
        run_prepared(one, sql, a=3)
    assert run_prepared(one, sql, a=2)[0].a == 2
