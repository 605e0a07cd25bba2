"""What one ticket asks of PostgreSQL and of the doors: statements, hints, lines of the log. No time is measured."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
import requests

from tests.service import DOORS, Service, payload
from tomaat.database.connection import parameters_of
from tomaat.database.hint import ENDED, IDLE, MOVED, QUEUED, SUBMITTED, WISHED

ALONE, LOADED = 40, 320
CLIENTS = 16
SOURCES = ("cpu-0", "cpu-1")
TELLING_SECONDS = 12.0  #: within which a session of PostgreSQL has told its counts


@pytest.fixture(scope="module")
def service(make_service):
    """Two sources; they look by themselves so rarely that what is counted comes from the tickets."""
    instance = make_service(
        COMPUTE_SOURCES=json.dumps({source: ["FloatComputation"] for source in SOURCES}),
        POLL_SECONDS="300",
        LEASE_SECONDS="600",
        LOG_FORMAT="json",
    )
    instance.start()
    instance.wait_until_ready("FloatComputation")
    instance.until(lambda: instance.log("TaskScheduling.py").count("source.ready") == len(SOURCES))
    one_ticket(instance, requests.Session())
    return instance


def one_ticket(instance: Service, session: requests.Session) -> None:
    """Send a ticket and wait for its result, as a client does that wants nothing else."""
    answer = session.post(
        f"{instance.url}/request",
        data={"service": "FloatComputation"},
        files={"payload": ("payload.tar.gz", payload({"f1": 1.5, "f2": 2.0}))},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    result = session.get(f"{instance.url}{answer.json()['links']['result']}?wait=25", timeout=60)
    assert result.status_code == 200, result.text


def statements(instance: Service) -> int:
    """Count the transactions of the database so far: each statement of ours is one. Those of counting do not count."""
    time.sleep(TELLING_SECONDS)
    (row,) = instance.rows("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return row.xact_commit


def test_one_ticket_alone_costs_at_most_seven_statements_and_two_lines(service):
    """And wakes one lane: each hint about a queue is about the queue that got the ticket."""
    listening = psycopg2.connect(**parameters_of(service.database_url))
    listening.autocommit = True
    with listening.cursor() as cursor:
        for channel in (SUBMITTED, IDLE, QUEUED, WISHED, MOVED, ENDED):
            cursor.execute(f"LISTEN {channel}")
    lines = {door: service.log(door).count("\n") for door in DOORS}
    before = statements(service)
    session = requests.Session()
    for _ in range(ALONE):
        one_ticket(service, session)
    assert (statements(service) - before) / ALONE <= 7, "four; the doors' own come on top"
    listening.poll()
    heard = Counter((notice.channel, notice.payload) for notice in listening.notifies)
    listening.close()
    by_channel = Counter(channel for channel, _ in heard.elements())
    assert by_channel[SUBMITTED] == 0, "a source is idle, and gets the ticket at once"
    assert by_channel[ENDED] == ALONE
    assert {about for channel, about in heard if channel == QUEUED} <= {f"test/{source}" for source in SOURCES}
    assert by_channel[QUEUED] == ALONE, "one ticket wakes one lane"
    assert by_channel[IDLE] <= ALONE, "a source says once that it is idle"
    assert by_channel[WISHED] == 0
    told = [json.loads(line) for door in DOORS for line in service.log(door).splitlines()[lines[door] :]]
    events = Counter(line["event"] for line in told)
    assert events == {"ticket.submitted": ALONE, "ticket.succeeded": ALONE}


def test_under_load_a_ticket_costs_at_most_seven_statements(service):
    """Fewer on a quick machine: there more tickets share a statement."""
    before = statements(service)
    with ThreadPoolExecutor(CLIENTS) as pool:
        sessions = [requests.Session() for _ in range(CLIENTS)]

        def many(session):
            for _ in range(LOADED // CLIENTS):
                one_ticket(service, session)

        list(pool.map(many, sessions))
    assert (statements(service) - before) / LOADED <= 7
