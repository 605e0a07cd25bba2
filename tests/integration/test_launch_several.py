"""WebService as several processes on one port, killed at will; the lanes' side of the database is played."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from urllib3.filepost import encode_multipart_formdata

from Inputs import FloatInput
from tests.service import Service, payload

WEB = "WebService.py"
PROCESSES = 3
BODY, TYPE = encode_multipart_formdata({"service": "Add", "payload": ("payload.tar.gz", payload({"a": 1.5}))})
LIVE = ("tomaat_requests_total", ("method", "GET"), ("route", "/health/live"), ("status", "200"))
MOST_CALLERS = 300  #: of which some meet each process


class Caller:
    """One connection to the service, which is kept, and the process that serves it."""

    def __init__(self, service):
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        self.ticket = self.ask("POST", "/request", status=202)
        number = self.ticket["id"]
        service.until(lambda: process_of(service, number))
        self.process = process_of(service, number)

    def ask(self, method, path, *, status=200, **headers):
        body, kind = (BODY, {"Content-Type": TYPE}) if method == "POST" else (None, {})
        self.connection.request(method, path, body, headers | kind)
        answer = self.connection.getresponse()
        said = answer.read()
        assert answer.status == status, said
        return json.loads(said)


def lines(service):
    """Read the log; a line may still be written."""
    for line in service.log(WEB).splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def process_of(service, ticket):
    found = (line for line in lines(service) if line["event"] == "ticket.submitted" and line["ticket"] == ticket)
    return next((line["process"] for line in found), None)


def heard(service, event):
    """Tell which processes said an event, each time; ``None`` is the one that started the others."""
    return sorted((line.get("process") for line in lines(service) if line["event"] == event), key=str)


def children(service):
    parent = service.doors[WEB].pid
    with open(f"/proc/{parent}/task/{parent}/children") as listed:  # noqa: PTH123 (no file)
        return [int(child) for child in listed.read().split()]


def number_of(pid):
    with open(f"/proc/{pid}/cmdline") as words:  # noqa: PTH123 (no file)
        return int(re.search("--process\0(\\d+)\0", words.read())[1])


def runs(pid):
    with suppress(OSError), open(f"/proc/{pid}/cmdline") as words:  # noqa: PTH123 (no file)
        return words.read() != ""  # a zombie's is empty
    return False


def is_free(port):
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture
def callers_of_all(service):
    """Call until each process has a caller, and give the first of each; hang up in the end."""
    made = []

    def call():
        found = {}
        for _ in range(MOST_CALLERS):  # none hangs up: else the same process may be the first again and again
            made.append(Caller(service))
            found.setdefault(made[-1].process, made[-1])
            if len(found) == PROCESSES:
                return found
        raise AssertionError(f"{MOST_CALLERS} callers met the processes {sorted(found)}")

    yield call
    for each in made:
        each.connection.close()


@pytest.fixture
def make(tmp_path, bench, database_url):
    """Make a WebService of three processes, whose database offers the service Add; end it."""
    lane = bench.source()
    offered = {"service": "Add", "interface_hash": "Add-1"}
    interface = {"a": FloatInput("a", "A number").describe()}
    bench.sources.offer(lane.lease, [{**offered, "offer": {"description": "", "version": "1", "interface": interface}}])
    made = []

    def make(**settings):
        settings = {"WEB_PROCESSES": str(PROCESSES), "LOG_FORMAT": "json", **settings}
        made.append(Service(tmp_path, database_url, **settings))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture
def service(make):
    """One that answers."""
    made = make(LONGEST_WAIT_SECONDS="600", POLL_SECONDS="600", MOST_WRONG_KEYS_PER_MINUTE="3")
    made.start(WEB)
    wait_for_all(made)
    return made


def wait_for_all(service, times=1):
    service.until(lambda: len(heard(service, "web.listening")) == times * PROCESSES)


def scrape(service):
    """Ask on a new connection, which any process may take; give each figure, of which none comes twice."""
    figures = [
        ((sample.name, *sorted(sample.labels.items())), sample.value, family.type)
        for family in text_string_to_metric_families(requests.get(f"{service.url}/metrics", timeout=60).text)
        for sample in family.samples
    ]
    seen = {name: value for name, value, _ in figures}
    assert len(seen) == len(figures)
    counted = {name for name, _, kind in figures if kind in {"counter", "histogram"}}
    assert len(counted) > 50
    return seen, counted


def test_all_processes_answer_on_one_port_and_hear_of_each_others_tickets(service, callers_of_all):
    callers = callers_of_all()
    assert sorted(callers) == [1, 2, 3]
    assert heard(service, "door.opened") == [1, 2, 3, None]
    one, other, third = callers.values()
    path = one.ticket["links"]["status"]
    with ThreadPoolExecutor() as pool:  # no look of the waiter's own is due before the test gives up
        waiting = [pool.submit(each.ask, "GET", f"{path}?wait=600") for each in (other, third)]
        time.sleep(0.5)  # they wait by now; where they do not yet, the ticket has ended when they come
        one.ask("DELETE", one.ticket["links"]["cancel"])
        assert [future.result()["state"] for future in waiting] == ["cancelled"] * 2
    one.ask("GET", path)


def test_what_is_bounded_for_all_is_bounded_for_all_processes_together(service, callers_of_all):
    wrong = {"X-API-Key": "tomaat_wrong", "X-Forwarded-For": "192.0.2.7"}
    for caller in callers_of_all().values():
        caller.ask("POST", "/request", status=401, **wrong)
        caller.ask("POST", "/request", status=429, **wrong)


def test_the_bytes_of_all_uploads_are_bounded_for_all_processes_together(make):
    service = make(LARGEST_SPOOLS_BYTES="600000")
    service.start(WEB)
    wait_for_all(service)
    with ExitStack() as stack:
        callers = [Caller(service) for _ in range(PROCESSES + 1)]  # two of them meet the same process
        for each in callers:
            stack.callback(each.connection.close)
        one, other = max(itertools.combinations(callers, 2), key=lambda pair: pair[0].process == pair[1].process)
        for each in (one, other):
            each.connection.putrequest("POST", "/request")
            for name, value in (("Content-Type", TYPE), ("Content-Length", "150000")):
                each.connection.putheader(name, value)
            each.connection.endheaders()
            each.connection.send(b"x" * 100_000)
        refused = other.connection.getresponse()
        assert (refused.status, json.load(refused)["title"]) == (503, "Busy")


def test_the_figures_are_those_of_all_processes_and_never_fall(service, callers_of_all):
    for caller in callers_of_all().values():
        for _ in range(5):
            caller.ask("GET", "/health/live")
    first, counted = seen, _ = scrape(service)
    assert first[LIVE] == 5 * PROCESSES
    started = [name for name in first if name[0] == "process_start_time_seconds"]
    assert len(started) == PROCESSES
    os.kill(children(service)[0], signal.SIGKILL)
    after = 0
    while after < 10:
        before = seen
        seen, still_counted = scrape(service)
        assert counted <= still_counted
        assert {name: (before[name], seen[name]) for name in counted if seen[name] < before[name]} == {}
        if len(heard(service, "web.listening")) > PROCESSES:
            after += 1
    assert seen[LIVE] == 5 * PROCESSES
    service.until(lambda: sum(scrape(service)[0][name] != first[name] for name in started) == 1)


def test_a_killed_process_comes_back_and_costs_only_its_own_connections(service, callers_of_all):
    callers = callers_of_all()
    victim = children(service)[0]
    number = number_of(victim)
    taken, stop = [], threading.Event()

    def submit():
        while not stop.is_set():
            with suppress(requests.RequestException):
                answer = requests.post(f"{service.url}/request", BODY, headers={"Content-Type": TYPE}, timeout=60)
                if answer.status_code == 202:
                    taken.append(answer.json()["id"])

    submitting = threading.Thread(target=submit)
    submitting.start()
    try:
        os.kill(victim, signal.SIGKILL)
        service.until(lambda: heard(service, "door.opened").count(number) == 2)
        service.until(lambda: heard(service, "web.listening").count(number) == 2)
    finally:
        stop.set()
        submitting.join()
    with pytest.raises((OSError, http.client.HTTPException)):
        callers.pop(number).ask("GET", "/health/live")
    for each in callers.values():
        assert each.ask("GET", each.ticket["links"]["status"])["state"] == "submitted"
    died = [line for line in lines(service) if line["event"] == "program.died"]
    assert [line["program"] for line in died] == [f"WebService --process {number}"]
    assert {row.id for row in service.rows("SELECT id FROM tickets")} >= set(taken) != set()
    assert sorted(callers_of_all()) == [1, 2, 3]


def test_whoever_kills_the_first_process_ends_all_and_the_port_is_free(service, callers_of_all):
    callers = callers_of_all()
    pids = children(service)
    assert len(pids) == PROCESSES
    service.kill(WEB)
    try:
        service.until(lambda: not any(map(runs, pids)))
    finally:
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)
    service.until(lambda: is_free(service.port))
    service.start(WEB)
    wait_for_all(service, times=2)
    assert {row.id for row in service.rows("SELECT id FROM tickets")} >= {c.ticket["id"] for c in callers.values()}


def test_a_request_to_end_ends_all_processes_cleanly(service, callers_of_all):
    callers_of_all()
    pids = children(service)
    assert service.terminate(WEB, 60) == 0
    assert not any(map(runs, pids))
    assert heard(service, "door.closed") == [1, 2, 3, None]
    assert heard(service, "program.died") == []


def test_a_busy_port_is_told_once_and_nobody_is_started(make):
    service = make()
    with socket.create_server(("127.0.0.1", service.port)):
        service.start(WEB)
        assert service.doors[WEB].wait(60) == 2
    assert service.log(WEB).count("is taken by another program") == 1
    assert heard(service, "door.opened") == [None]


def test_what_no_process_can_run_with_ends_all(make):
    service = make(API_KEYS="always")
    service.start(WEB)
    assert service.doors[WEB].wait(60) == 2
    assert "requests need an API key" in service.log(WEB)
    (last,) = [line for line in lines(service) if line["event"] == "door.misconfigured" and "process" not in line]
    assert "cannot run as it is set up" in last["reason"]


def test_one_process_is_the_door_itself(make):
    service = make(WEB_PROCESSES="1")
    service.start(WEB)
    service.until(lambda: heard(service, "web.listening"))
    assert children(service) == []
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    assert re.search(r"^process_start_time_seconds \d", text, re.MULTILINE)
    assert "process" not in set(itertools.chain.from_iterable(lines(service)))
