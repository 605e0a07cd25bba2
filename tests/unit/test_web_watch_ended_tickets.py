import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.tickets.watch_store import EndedTicket
from tomaat.web.watch import ended_tickets as module
from tomaat.web.watch.ended_tickets import EndedTickets


def ended(id):
    return EndedTicket(
        id=id, service="Add", outcome="succeeded", problem=None, attempts=0, wait_seconds=1.0, run_seconds=2.0
    )


class Store:
    def __init__(self):
        self.looks = []
        self.asked = []
        self.known = []

    def ended(self, since, *, known):
        self.asked.append(since)
        self.known.append(set(known))
        answer = self.looks.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_what_is_listed_again_is_told_once_and_the_first_look_tells_nothing():
    store, told = Store(), []
    ended_tickets = EndedTickets(store, lambda ticket: told.append(ticket.id))
    store.looks = [(1, [ended(1)]), (2, [ended(1), ended(2)]), (3, [ended(3), ended(2)])]
    for _ in range(3):
        ended_tickets.look()
    assert told == [2, 3]
    assert store.asked == [None, 1, 2]
    assert store.known == [set(), {1}, {1, 2}], "what is known need not be listed again"


def test_what_is_known_is_listed_now_and_then_so_that_it_stays_known(monkeypatch):
    store, now = Store(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    ended_tickets = EndedTickets(store, lambda _: None)
    for _ in range(3):
        store.looks = [(1, [ended(1)])]
        ended_tickets.look()
        now[0] += module.LIST_ALL_SECONDS
    assert store.known == [set(), set(), set()]
    assert ended_tickets.known == {1: 2 * module.LIST_ALL_SECONDS}


def test_an_outage_is_logged_once_and_the_next_look_goes_back_to_before_it():
    store, told = Store(), []
    ended_tickets = EndedTickets(store, lambda ticket: told.append(ticket.id))
    store.looks = [(1, []), DatabaseUnavailable("x"), DatabaseUnavailable("x"), (4, [ended(9)])]
    with structlog.testing.capture_logs() as lines:
        for _ in range(4):
            ended_tickets.look()
    assert [line["event"] for line in lines] == ["database.lost"]
    assert store.asked == [None, 1, 1, 1]
    assert told == [9]


def test_what_is_listed_no_more_is_forgotten_after_a_while(monkeypatch):
    store = Store()
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    ended_tickets = EndedTickets(store, lambda _: None)
    store.looks = [(1, [ended(1)]), (2, [ended(2)])]
    ended_tickets.look()
    now[0] = module.REMEMBERED_SECONDS + 1
    ended_tickets.look()
    assert list(ended_tickets.known) == [2]
