"""Several compute sources side by side: who gets what, and in which order."""

import heapq
import random
import textwrap

import pytest

from tests.service import Service

FOUR = '{"cpu-0": null, "cpu-1": null, "cpu-2": null, "cpu-3": null}'


def list_scheduling(durations, machines):
    """How long the durations take when each, in order, starts on the machine that is free first."""
    free = [0.0] * machines
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def makespan(instance: Service) -> float:
    row = instance.rows("SELECT extract(epoch FROM max(finished) - min(started)) AS seconds FROM tickets")[0]
    return float(row.seconds)


@pytest.mark.thorough
def test_mixed_tickets_on_four_sources_end_near_list_scheduling(own_service):
    """The figure itself is the benchmark's business; here twice the bound, since the machine may be busy."""
    instance = own_service(COMPUTE_SOURCES=FOUR)
    instance.start()
    instance.wait_until_ready()
    instance.until(lambda: len({s.source for s in instance.rows("SELECT source FROM offers")}) == 4, 60)
    durations = [random.Random(n).choice([0.1, 0.2, 0.8]) for n in range(60)]
    tickets = [instance.submit("Dummy", {"seconds": seconds}) for seconds in durations]
    for ticket in tickets:
        assert instance.wait(ticket)["state"] == "succeeded"
    assert makespan(instance) < 2 * list_scheduling(durations, 4) + 1
    assert len({row.source for row in instance.rows("SELECT source FROM tickets")}) == 4


def test_a_source_offers_only_the_services_that_it_was_given(own_service):
    instance = own_service(COMPUTE_SOURCES='{"cpu-0": ["Dummy"], "cpu-1": ["FloatComputation"]}')
    instance.start()
    instance.wait_until_ready("Dummy", "FloatComputation")
    tickets = [instance.submit("FloatComputation", {"f1": 1, "f2": n}) for n in range(5)]
    assert {instance.wait(ticket)["compute_source"] for ticket in tickets} == {"test/cpu-1"}


def test_a_broken_task_is_named_and_the_others_still_serve(own_service, tmp_path):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "Good.py").write_text(
        textwrap.dedent(
            """
            from Inputs import IntInput
            from tomaat.services import Task

            class Good(Task):
                task_identifier = "Good"
                description = "Doubles."
                inputs = [IntInput("n", "Number")]

                def perform(self, n):
                    return {"doubled": 2 * n}
            """
        )
    )
    (tasks / "Broken.py").write_text("import nothing_of_this_name\n")
    (tasks / "Mismatch.py").write_text((tasks / "Good.py").read_text().replace("self, n)", "self, m)"))
    instance = own_service(CUSTOM_TASKS_DIR=str(tasks))
    instance.start()
    instance.wait_until_ready("Good")
    log = instance.log("TaskScheduling.py")
    assert "Broken.py: ModuleNotFoundError" in log
    assert "write def perform(self, n)" in log
    assert instance.wait(instance.submit("Good", {"n": 21}))["state"] == "succeeded"


def test_a_service_whose_sources_are_away_still_takes_tickets(own_service):
    instance = own_service()
    instance.start()
    instance.wait_until_ready()
    instance.terminate("TaskScheduling.py")
    instance.until(lambda: not any(service["available"] for service in instance.services()))
    ticket = instance.submit("FloatComputation", {"f1": 1, "f2": 2})
    assert instance.status(ticket, "?wait=1&state=queued")["state"] == "submitted"
    instance.start("TaskScheduling.py")
    assert instance.wait(ticket)["state"] == "succeeded"


def test_a_ticket_that_runs_at_once_is_expected_to_take_what_its_task_says(own_service):
    instance = own_service()
    instance.start()
    instance.wait_until_ready()
    assert instance.wait(instance.submit("Dummy", {"seconds": 0.1}))["state"] == "succeeded"
    running = instance.submit("Dummy", {"seconds": 30})
    instance.until(lambda: instance.status(running)["state"] == "running")
    instance.until(lambda: instance.status(running)["eta_seconds"] > 20, 10)
    behind = instance.submit("Dummy", {"seconds": 5})
    instance.until(lambda: (instance.status(behind)["eta_seconds"] or 0) > 25, 10)
