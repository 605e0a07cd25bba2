"""The comparison with peers treats all alike, and counts what it says."""

from benchmarks.client import Client, from_clients
from benchmarks.peers.__main__ import line
from benchmarks.peers.comparison import Figure, in_turns
from benchmarks.peers.statements import kinds_since

NAMES = ["ours", "one", "other"]


def test_every_other_turn_goes_the_other_way_round():
    order = []
    seen = in_turns({name: lambda name=name: order.append(name) or len(order) for name in NAMES}, 3)
    assert order == [*NAMES, *reversed(NAMES), *NAMES]
    assert seen == {"ours": [1, 6, 7], "one": [2, 5, 8], "other": [3, 4, 9]}


def test_the_ratio_is_that_of_the_best_peer_which_is_the_quickest_or_does_the_most():
    values = {"ours": 10.0, "one": 5.0, "other": 20.0}
    assert line(Figure(what="x", unit="ms", values=values), NAMES) == "| x, ms | 10.0 | 5.00 | 20.0 | 0.50 |"
    rate = Figure(what="x", unit="tickets/s", values=values, more_is_better=True)
    assert line(rate, NAMES).endswith("| 2.00 (less is better) |")


def test_many_clients_do_a_thing_as_often_as_asked_together():
    clients = []
    from_clients("http://127.0.0.1:1", 4, 50, clients.append)
    assert len(clients) == 50
    assert len(set(clients)) <= 4
    assert isinstance(clients[0], Client)


def test_statements_are_counted_by_kind_whatever_their_values_and_lines(tmp_path):
    log = tmp_path / "postgres.log"
    log.write_text("2026-01-01 10:00:00.000 UTC [1] LOG:  statement: SELECT 0\n")
    before = log.stat().st_size
    with log.open("a") as file:
        file.write(
            "2026-01-01 10:00:00.000 UTC [1] LOG:  statement: SELECT a\n\tFROM b WHERE c IN ('it''s', 7)\n"
            "2026-01-01 10:00:00.001 UTC [1] LOG:  checkpoint starting: time\n"
            "2026-01-01 10:00:00.002 UTC [2] LOG:  execute <unnamed>: SELECT a FROM b WHERE c IN (1, 2, 3.5)\n"
        )
    assert kinds_since(log, before) == {"SELECT a FROM b WHERE c IN (?)": 2}
