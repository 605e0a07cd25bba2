"""Networks that do not fit into their source's memory together, on the CPU with a limit."""

import json
import textwrap

from tests.service import Service

TASKS = """
import numpy as np
from Inputs import FloatInput
from tomaat.services import Task

class _Network(Task):
    description = "Holds 200 MB."
    inputs = [FloatInput("x", "X", default=0)]

    def load(self, device):
        self.network = np.ones(25_000_000)

    def perform(self, x):
        return {"x": x * self.network[-1]}

class First(_Network):
    task_identifier = "First"

class Second(_Network):
    task_identifier = "Second"

class Boundless(Task):
    task_identifier = "Boundless"
    description = "Fits nowhere."
    inputs = []

    def perform(self):
        raise MemoryError
"""
MB = 10**6


def started(own_service, tmp_path, *services: str, **megabytes: int) -> Service:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/Networks.py").write_text(textwrap.dedent(TASKS))
    made = own_service(CUSTOM_TASKS_DIR=str(tmp_path / "tasks"))
    limit(made, *services, **megabytes)
    made.start()
    made.wait_until_ready(*services)
    return made


def limit(instance: Service, *services: str, **megabytes: int) -> None:
    sizes = {name.replace("_", "-"): size * MB for name, size in megabytes.items()}
    instance.environment |= {
        "TOMAAT_COMPUTE_SOURCES": json.dumps(dict.fromkeys(sizes, services)),
        "TOMAAT_COMPUTE_MEMORY_BYTES": json.dumps(sizes),
    }


def warm(instance: Service) -> set[str]:
    return {row.service for row in instance.rows("SELECT service FROM offers WHERE warm IS NOT NULL")}


def needed(instance: Service) -> dict[str, int]:
    return {
        service["name"]: size
        for service in instance.services()
        for source, size in service["memory_bytes"].items()
        if source == "test/cpu-0"
    }


def test_networks_that_do_not_fit_together_take_turns_and_what_they_need_is_remembered(own_service, tmp_path):
    instance = started(own_service, tmp_path, "First", "Second", cpu_0=300)
    for number, service in enumerate(("First", "Second", "First")):
        ended = instance.wait(instance.submit(service, {"x": number}))
        assert ended["state"] == "succeeded"
        assert warm(instance) == {service}
    assert "networks.let_go" in instance.log("TaskScheduling.py")
    instance.until(lambda: needed(instance).keys() == {"First", "Second"})
    assert all(150 * MB < size <= 300 * MB for size in needed(instance).values())

    instance.terminate("TaskScheduling.py")
    instance.start("TaskScheduling.py")
    instance.until(lambda: "network.cold" in instance.log("TaskScheduling.py"))
    instance.wait_until_ready("First", "Second")
    assert needed(instance).keys() == {"First", "Second"}
    assert instance.wait(instance.submit("Second", {"x": 2}))["state"] == "succeeded"


def test_a_service_that_is_known_to_fit_nowhere_fails_at_once_with_both_figures(own_service, tmp_path):
    instance = started(own_service, tmp_path, "First", cpu_0=300)
    assert instance.wait(instance.submit("First", {}))["state"] == "succeeded"
    instance.until(lambda: "First" in needed(instance))
    instance.terminate("TaskScheduling.py")
    limit(instance, "First", cpu_0=100)
    instance.start("TaskScheduling.py")
    instance.wait_until_ready("First")
    failed = instance.wait(instance.submit("First", {}))
    assert (failed["state"], failed["claim"]) == ("failed", 0)
    assert failed["error"]["type"] == "/problems/out-of-memory"
    assert failed["error"]["detail"].startswith("First: a ticket was measured to need ")
    assert failed["error"]["detail"].endswith(" MB of memory; the largest compute source that offers it has 100 MB.")


def test_a_ticket_that_is_too_large_for_its_source_waits_for_a_larger_one(own_service, tmp_path):
    instance = started(own_service, tmp_path, "Boundless", cpu_0=300, cpu_1=400)
    instance.until(lambda: len(instance.rows("SELECT DISTINCT source FROM offers")) == 2, 60)
    instance.terminate("TaskScheduling.py")
    limit(instance, "Boundless", cpu_0=300)
    instance.start("TaskScheduling.py")
    instance.wait_until_ready("Boundless")
    ticket = instance.submit("Boundless", {})
    instance.until(lambda: "ticket.outgrown" in instance.log("TaskScheduling.py"))
    instance.until(lambda: (instance.status(ticket)["state"], instance.status(ticket)["claim"]) == ("submitted", 1))
    instance.terminate("TaskScheduling.py")
    limit(instance, "Boundless", cpu_0=300, cpu_1=400)
    instance.start("TaskScheduling.py")
    failed = instance.wait(ticket)
    assert (failed["state"], failed["claim"], failed["compute_source"]) == ("failed", 2, "test/cpu-1")
    assert "Boundless: this ticket needs more memory than test/cpu-1 has (400 MB)" in failed["error"]["detail"]
