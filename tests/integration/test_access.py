"""API keys, repeated requests and the audit trail in the real database."""

import time

import pytest
from sqlalchemy.exc import DBAPIError

from tomaat.access import Audit
from tomaat.access.key_store import KeyExists, KeyStore
from tomaat.database import DatabaseUnavailable


@pytest.fixture
def keys(database):
    return KeyStore(database)


def test_a_key_is_found_by_what_its_holder_shows_until_it_is_revoked(keys):
    key = keys.make("radiology", ["B", "A"])
    assert key.startswith("tomaat_")
    found = keys.find(key)
    assert (found.name, found.services) == ("radiology", ("A", "B"))
    assert found.allows("A")
    assert not found.allows("C")
    assert keys.find(key + "x") is None
    assert keys.revoke("radiology")
    assert keys.find(key) is None
    assert not keys.revoke("radiology")


def test_the_database_holds_no_key(keys, bench):
    key = keys.make("radiology", None)
    assert key not in str(bench.run("SELECT * FROM api_keys"))


def test_a_name_is_never_anothers(keys):
    keys.make("radiology", None)
    keys.revoke("radiology")
    with pytest.raises(KeyExists, match="'radiology' was made already"):
        keys.make("radiology", None)
    (listed,) = keys.all()
    assert listed.revoked is not None


def test_usage_counts_what_waits_and_what_is_new_up_to_the_limits(keys, bench):
    for _ in range(3):
        bench.web.submit(bench.new_ticket(key_name="radiology"))
    bench.web.submit(bench.new_ticket(key_name="other"))
    bench.run("UPDATE tickets SET created = created - interval '2 minutes' WHERE id = 1")
    bench.run("UPDATE tickets SET state = 'cancelled', finished = now() WHERE id = 2")
    used = keys.usage("radiology", most_waiting=10, most_within_a_minute=10)
    assert (used.waiting, used.within_a_minute) == (2, 2)
    bounded = keys.usage("radiology", most_waiting=1, most_within_a_minute=1)
    assert (bounded.waiting, bounded.within_a_minute) == (1, 1)


def test_an_idempotency_key_has_one_ticket_per_api_key(bench):
    again = {"idempotency_key": "mine", "payload_sha256": b"p" * 32}
    first = bench.web.submit(bench.new_ticket(**again))
    assert bench.web.submit(bench.new_ticket(**again)).id == first.id
    assert bench.web.submit(bench.new_ticket(**again, key_name="radiology")).id != first.id
    assert bench.web.submit(bench.new_ticket()).id != first.id


def test_the_newest_tokens_of_repetitions_are_kept(bench):
    ticket = bench.submit()
    for number in range(25):
        bench.web.add_token(ticket, bytes([number]) * 32)
    assert bench.read(ticket).later_token_hashes == tuple(bytes([number]) * 32 for number in range(5, 25))
    assert bench.read(ticket).token_hash == ticket.token_hash


def test_what_changes_a_ticket_and_its_line_in_the_trail_are_one(bench):
    ticket = bench.web.submit(bench.new_ticket(key_name="radiology"))
    other = bench.submit()
    bench.web.cancel(other)
    bench.manager.note_removed([other.id])
    bench.manager.note_removed([other.id])
    lines = bench.run("SELECT who, what, ticket, outcome FROM audit ORDER BY id")
    assert [tuple(line) for line in lines] == [
        ("radiology", "submit", ticket.id, "accepted"),
        ("anybody", "submit", other.id, "accepted"),
        ("holder of the token", "give up", other.id, "cancelled"),
        ("QueueManager", "delete files", other.id, "cancelled"),
    ]


@pytest.mark.parametrize("change", ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit", "TRUNCATE audit"])
def test_the_trail_only_grows(bench, change):
    bench.submit()
    with pytest.raises(DBAPIError, match="only grows"):
        bench.run(change)


def test_old_lines_of_the_trail_are_pruned(bench):
    bench.submit()
    bench.run("INSERT INTO audit (at, who, what, outcome) VALUES (now() - interval '40 days', 'a', 'submit', 'b')")
    bench.manager.prune_audit(days=365)
    assert len(bench.run("SELECT FROM audit")) == 2
    bench.manager.prune_audit(days=35)
    assert len(bench.run("SELECT FROM audit")) == 1


def test_tickets_of_a_time_that_a_clock_took_back_are_not_new(keys, bench):
    """Else a key is refused for an hour, after a clock was set back by one."""
    keys.make("radiology", None)
    bench.web.submit(bench.new_ticket(key_name="radiology"))
    bench.run("UPDATE tickets SET created = clock_timestamp() + interval '30 minutes'")
    assert keys.usage("radiology", most_waiting=10, most_within_a_minute=10).within_a_minute == 0


def counted(bench):
    return [tuple(row) for row in bench.run("SELECT who, what, outcome, times FROM audit ORDER BY outcome")]


def test_refusals_without_a_key_become_one_line_for_each_kind_and_minute(bench, monkeypatch):
    audit = Audit(bench.database)
    for _ in range(1000):
        audit.count(what="submit", outcome="key-needed")
    audit.count(what="submit", outcome="busy")
    audit.write_counts()
    assert counted(bench) == [], "a minute has not passed"
    now = time.monotonic()
    monkeypatch.setattr("tomaat.access.audit.time.monotonic", lambda: now + 61)
    audit.write_counts()
    audit.write_counts(at_once=True)
    lines = [("anybody", "submit", "busy", 1), ("anybody", "submit", "key-needed", 1000)]
    assert counted(bench) == lines
    audit.note(who="radiology", what="submit", outcome="x")
    assert counted(bench) == [*lines, ("radiology", "submit", "x", 1)]


def test_counts_that_cannot_be_written_are_kept(bench, monkeypatch):
    audit = Audit(bench.database)

    def away(*_, **__):
        raise DatabaseUnavailable("away")

    audit.count(what="submit", outcome="key-needed")
    with monkeypatch.context() as patched:
        patched.setattr("tomaat.access.audit.run", away)
        audit.write_counts(at_once=True)
    audit.count(what="submit", outcome="key-needed")
    audit.write_counts(at_once=True)
    assert counted(bench) == [("anybody", "submit", "key-needed", 2)]
