"""Rows that were stored before texts and numbers were looked at: each is repaired, and no such row comes in again."""

import sys

import pytest
import sqlalchemy

from tests.integration.conftest import Bench
from tomaat.database import RowRefused, connect, migrate, run
from tomaat.database.migrate import MIGRATIONS, known_migrations

POISON = {
    r'"a\u0000b"': "a�b",
    r'"\u0000\u0000"': "��",
    r'"caf\udce9.dcm"': "caf�.dcm",
    r'"\ud800x \uDBFF\u0041"': "�x �A",
    r'"\\u0000 and \\\u0000"': "\\u0000 and \\�",
    r'"\ud83d\ude00 stays"': "😀 stays",
    r'"plain"': "plain",
    r'"\\\\ud800 \"é\""': '\\\\ud800 "é"',
}
VALUES = "VALUES ('x', 'Add', 'h', :folder, 'failed', now(), CAST(:error AS json))"
INSERT = f"INSERT INTO tickets (token_hash, service, interface_hash, folder, state, finished, error) {VALUES}"


def up_to(database, last, monkeypatch):
    """Bring a database up to an older version."""
    versions = {version: path for version, path in known_migrations().items() if version <= last}
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["tomaat.database.migrate"], "known_migrations", lambda: versions)
        migrate(database)


@pytest.fixture
def old(database_url, monkeypatch):
    """A database of the version before, and what brings it up to date."""
    database = connect(database_url, deadline_seconds=30)
    up_to(database, 7, monkeypatch)
    yield Bench(database)
    database.dispose()


def test_there_is_such_a_migration():
    assert (MIGRATIONS / "0008_texts_and_numbers.sql").is_file()


def test_texts_that_postgresql_cannot_take_out_again_are_repaired(old):
    for folder, text in enumerate(POISON):
        error = f'{{"type": "/problems/refused", "title": "T", "status": 409, "detail": {text}}}'
        old.force(INSERT, folder=str(folder), error=error)
    with pytest.raises(sqlalchemy.exc.DataError):
        old.run("SELECT error->>'detail' FROM tickets")
    migrate(old.database)
    rows = old.run("SELECT error->>'type' AS type, error->>'detail' AS detail FROM tickets ORDER BY id")
    assert [row.detail for row in rows] == list(POISON.values())
    assert {row.type for row in rows} == {"/problems/refused"}


def test_of_an_error_that_cannot_be_repaired_the_kind_stays_and_no_error_stays_none(old):
    number = "1" + "0" * 140_000  # more digits than jsonb takes
    old.force(INSERT, folder="a", error=f'{{"type": "/problems/refused", "status": {number}}}')
    old.force(INSERT, folder="b", error=None)
    migrate(old.database)
    first, second = old.run("SELECT error FROM tickets ORDER BY id")
    assert (first.error["type"], first.error["status"]) == ("/problems/refused", 409)
    assert second.error is None


def test_offers_are_repaired_in_the_order_of_their_inputs_and_others_stay(old):
    for service, offer in (
        ("a", r'{"description": "a\u0000", "interface": {"zz": 1, "a": 2}}'),
        ("b", '{"interface": {"zz": 1, "a": 2}}'),
    ):
        old.run(
            "INSERT INTO offers (source, service, interface_hash, offer) VALUES ('s', :service, 'h', :offer)",
            service=service,
            offer=offer,
        )
    migrate(old.database)
    first, second = old.run("SELECT offer FROM offers ORDER BY service")
    assert first.offer["description"] == "a�"
    assert list(first.offer["interface"]) == list(second.offer["interface"]) == ["zz", "a"]


def test_numbers_that_no_sum_can_hold_are_forgotten(old):
    for folder, seconds in enumerate(("1.7e308", "Infinity", "NaN", "-1", "3")):
        old.run(
            "INSERT INTO tickets (token_hash, service, interface_hash, folder, expected_seconds, progress)"
            " VALUES ('x', 'Add', 'h', :folder, CAST(:seconds AS float8), CAST('NaN' AS real))",
            folder=str(folder),
            seconds=seconds,
        )
    old.run("INSERT INTO durations VALUES ('s', 'Add', CAST('Infinity' AS float8)), ('s', 'Sub', 2)")
    migrate(old.database)
    rows = old.run("SELECT expected_seconds, progress FROM tickets ORDER BY id")
    assert [tuple(row) for row in rows] == [(None, None)] * 4 + [(3.0, None)]
    assert [row.service for row in old.run("SELECT service FROM durations")] == ["Sub"]


@pytest.mark.parametrize("column", ["expected_seconds", "loading_seconds", "progress"])
@pytest.mark.parametrize("value", ["Infinity", "NaN", "-0.5", "2e9"])
def test_no_number_of_that_kind_comes_in_again(bench, column, value):
    ticket = bench.submit()
    update = f"UPDATE tickets SET {column} = CAST(:v AS float8) WHERE id = :id"  # noqa: S608 (columns of this test)
    with pytest.raises(RowRefused):
        run(bench.database, update, v=value, id=ticket.id)


@pytest.mark.parametrize("text", [r"a\u0000", r"\udce9"])
def test_no_text_of_that_kind_comes_in_again(bench, text):
    ticket = bench.submit()
    told = f'{{"detail": "{text}"}}'
    with pytest.raises(RowRefused):
        run(bench.database, "UPDATE tickets SET error = CAST(:told AS jsonb) WHERE id = :id", told=told, id=ticket.id)
    with pytest.raises(RowRefused):
        run(
            bench.database,
            "INSERT INTO offers (source, service, interface_hash, offer) VALUES ('s', 'a', 'h', CAST(:told AS json))",
            told=told,
        )
    bench.sources.take("here/cpu-0", "a")
    assert run(bench.database, "SELECT error FROM tickets")[0].error is None


@pytest.mark.parametrize("text", ["a\0b", "caf\udce9"])
def test_a_text_that_the_driver_refuses_is_a_rows_fault_too(bench, text):
    ticket = bench.submit()
    with pytest.raises(RowRefused) as refused:
        run(bench.database, "UPDATE tickets SET stage = :stage WHERE id = :id", stage=text, id=ticket.id)
    assert "caf" not in str(refused.value), "it may be a patient's name"
