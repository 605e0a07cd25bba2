"""One ticket's way through all doors and its worker, found in the logs by its id."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import requests

from tests.needs import need
from tests.service import DOORS

REPOSITORY = Path(__file__).resolve().parents[2]
CRASHING = '''"""A task that crashes."""

from tomaat.services import Outputs, Task


NAME = "Jane Doe"


class CrashingTask(Task):
    """Crashes."""

    task_identifier = "Crashing"
    description = "Crashes."
    inputs = ()

    def perform(self) -> Outputs:
        raise ValueError(NAME)
'''
OF_NO_TICKET = {  # what doors log of themselves while a ticket is on its way
    "source.ready",
    "task.loading",
    "worker.left_over_ended",
}


UNWRITABLE = '''"""A task that returns no result."""

from tomaat.services import Task


class NothingTask(Task):
    """Returns nothing."""

    task_identifier = "Nothing"
    description = "Returns nothing."
    inputs = ()

    def perform(self):
        return None
'''


@pytest.fixture(scope="module")
def service(make_service, tmp_path_factory):
    tasks = tmp_path_factory.mktemp("tasks")
    for name in ("DummyTask", "FloatComputationTask"):
        (tasks / f"{name}.py").write_text((REPOSITORY / f"CustomTasks/{name}.py").read_text())
    (tasks / "CrashingTask.py").write_text(CRASHING)
    instance = make_service(LOG_FORMAT="json", LOG_LEVEL="debug", CUSTOM_TASKS_DIR=str(tasks))
    instance.start()
    instance.wait_until_ready("Dummy", "FloatComputation", "Crashing")
    return instance


def lines(instance):
    """All lines of all doors, in the order of their time stamps; each is JSON."""
    found = [json.loads(line) for door in DOORS for line in instance.log(door).splitlines()]
    return sorted(found, key=lambda line: line["timestamp"])


def way(instance, ticket):
    """The events of one ticket, with the program that logged each; what a client asks meanwhile aside."""
    return [
        (line["door"], line["event"])
        for line in lines(instance)
        if line.get("ticket") == ticket["id"] and line.get("route") != "/status/<path:reference>"
    ]


def fetch_and_delete(instance, ticket):
    assert instance.result(ticket)
    instance.until(lambda: ("WebService", "ticket.fetched") in way(instance, ticket))
    requests.delete(instance.url + ticket["links"]["cancel"], timeout=30)
    instance.until(lambda: ("QueueManager", "ticket.files_removed") in way(instance, ticket))


TO_THE_CLAIM = [
    ("WebService", "ticket.submitted"),
    ("WebService", "ticket.queued"),
    ("WebService", "request.answered"),
    ("TaskScheduling", "ticket.claimed"),
]
FROM_THE_RESULT = [
    ("TaskScheduling", "ticket.succeeded"),
    ("WebService", "request.answered"),
    ("WebService", "ticket.fetched"),
    ("WebService", "ticket.given_up"),
    ("WebService", "request.answered"),
    ("QueueManager", "ticket.expired"),
    ("QueueManager", "ticket.files_removed"),
]


def test_one_ticket_is_followed_from_submission_to_deletion(service):
    ticket = service.submit("Dummy", {"seconds": 0.3})
    assert service.wait(ticket)["state"] == "succeeded"
    fetch_and_delete(service, ticket)
    service.until(lambda: set(FROM_THE_RESULT) <= set(way(service, ticket)))  # a line comes after its row
    seen = way(service, ticket)
    for door in ("WebService", "QueueManager", "TaskScheduling"):
        assert [step for step in seen if step[0] == door] == [
            step for step in TO_THE_CLAIM + FROM_THE_RESULT if step[0] == door
        ]
    events = [event for _, event in seen]
    # the source hears of the ticket from the statement that queues it, so the line of its claim may come first
    assert max(map(events.index, ("ticket.queued", "ticket.claimed"))) < events.index("ticket.succeeded")


def test_no_line_between_lacks_the_ticket(service):
    first = service.submit("Dummy", {"seconds": 0.3})
    service.until(lambda: service.status(first)["state"] == "running")
    os.kill(service.worker_pid(), signal.SIGKILL)
    assert service.wait(first)["state"] == "succeeded"
    fetch_and_delete(service, first)
    all_lines = lines(service)
    places = [place for place, line in enumerate(all_lines) if line.get("ticket") == first["id"]]
    between = all_lines[places[0] : places[-1]]
    without = {line["event"] for line in between if "ticket" not in line}
    assert without <= OF_NO_TICKET, without


def test_a_ticket_whose_worker_was_killed_is_followed_through_both_claims(service):
    ticket = service.submit("Dummy", {"seconds": 1.5})
    service.until(lambda: service.status(ticket)["state"] == "running")
    os.kill(service.worker_pid(), signal.SIGKILL)
    assert service.wait(ticket)["state"] == "succeeded"
    assert [event for door, event in way(service, ticket) if door == "TaskScheduling"] == [
        "ticket.claimed",
        "worker.died",
        "ticket.attempt_spent",
        "ticket.claimed",
        "ticket.succeeded",
    ]
    claimed = [line for line in lines(service) if line["event"] == "ticket.claimed" and line["ticket"] == ticket["id"]]
    claims = [line["claim"] for line in claimed]
    assert claims == [1, 2]


def test_a_crash_in_the_worker_names_the_ticket_and_the_reference_that_its_client_reads(service):
    ticket = service.submit("Crashing", {})
    status = service.wait(ticket)
    reference = re.search(r"has it as (\w+)", status["error"]["detail"]).group(1)
    (crash,) = [line for line in lines(service) if line["event"] == "task.crashed"]
    assert (crash["door"], crash["ticket"], crash["claim"]) == ("worker", ticket["id"], 1)
    assert crash["reference"] == reference
    assert "Jane" not in "".join(service.log(door) for door in DOORS)


def test_the_author_of_a_task_reads_its_errors_where_the_operator_wants_it(own_service, tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "CrashingTask.py").write_text(CRASHING)
    (tasks / "NothingTask.py").write_text(UNWRITABLE)
    instance = own_service(CUSTOM_TASKS_DIR=str(tasks), TASK_ERRORS="log")
    instance.start()
    instance.wait_until_ready("Crashing", "Nothing")
    crashed, nothing = (instance.wait(instance.submit(name, {})) for name in ("Crashing", "Nothing"))
    assert "Jane" not in json.dumps(crashed)
    sentence = "perform() returned NoneType; return a dict of named outputs"
    assert sentence in nothing["error"]["detail"]
    log = instance.log("TaskScheduling.py").splitlines()
    (place,) = (number for number, line in enumerate(log) if "task.crashed" in line and "ValueError" in line)
    assert f"ticket={crashed['id']}" in log[place]
    assert log[place + 1 : place + 5] == [
        f'  File "{tasks / "CrashingTask.py"}", line 17, in perform',
        "    raise ValueError(NAME)",
        "ValueError",
        "ValueError: Jane Doe",
    ]
    assert any(sentence in line for line in log if "task.crashed" in line)


def test_the_documents_one_liner_finds_the_ticket_and_nothing_else(service):
    need("jq")
    first, second = (service.submit("FloatComputation", {"f1": 1, "f2": number}) for number in (1, 2))
    for ticket in (first, second):
        assert service.wait(ticket)["state"] == "succeeded"
    document = (REPOSITORY / "docs/monitoring.md").read_text()
    program = re.search(r"jq -cR '(.+?)'", document).group(1).replace("42", str(first["id"]))
    everything = "".join(service.log(door) for door in DOORS) + "WARNING some.library a line that is no JSON\n"
    found = subprocess.run(["jq", "-cR", program], input=everything, capture_output=True, text=True, check=True)
    steps = [json.loads(line) for line in found.stdout.splitlines()]
    assert {line["ticket"] for line in steps} == {first["id"]}
    assert {line["door"] for line in steps} >= {"WebService", "TaskScheduling"}
