"""Tasks that hang, are deaf, crash their process or are killed: the ticket fails with a reason, the next one runs."""

import textwrap
import time

import pytest
import requests

TASKS = """
import ctypes, os, signal, sys, time
from Inputs import FloatInput
from tomaat.services import Task

class _Bad(Task):
    description = "Behaves badly."
    inputs = [FloatInput("x", "X", default=0)]

class Hangs(_Bad):
    task_identifier = "Hangs"
    deadline_seconds = 1.0
    def perform(self, x):
        time.sleep(600)

class Deaf(_Bad):
    task_identifier = "Deaf"
    def perform(self, x):
        time.sleep(600)

class Segfaults(_Bad):
    task_identifier = "Segfaults"
    def perform(self, x):
        ctypes.string_at(0)

class Killed(_Bad):
    task_identifier = "Killed"
    def perform(self, x):
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory ends

class Exits(_Bad):
    task_identifier = "Exits"
    def perform(self, x):
        sys.exit(7)

class ExitsHard(_Bad):
    task_identifier = "ExitsHard"
    def perform(self, x):
        os._exit(7)

class Interrupts(_Bad):
    task_identifier = "Interrupts"
    def perform(self, x):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)

class Fine(_Bad):
    task_identifier = "Fine"
    def perform(self, x):
        return {"x": x}
"""
NAMES = ("Hangs", "Deaf", "Segfaults", "Killed", "Exits", "ExitsHard", "Interrupts", "Fine")


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "Bad.py").write_text(textwrap.dedent(TASKS))
    made = make_service(CUSTOM_TASKS_DIR=str(folder), ATTEMPTS="2", CANCEL_SECONDS="0.5", LOG_LEVEL="debug")
    made.start()
    made.wait_until_ready(*NAMES)
    return made


@pytest.mark.parametrize(
    ("service", "problem", "words"),
    [
        ("Hangs", "deadline-passed", "did not end within its deadline of 1 s and was stopped"),
        ("Segfaults", "worker-died", "was ended by signal 11 (SIGSEGV); the ticket was started 2 times"),
        ("Killed", "worker-died", "was ended by signal 9 (SIGKILL)"),
        ("ExitsHard", "worker-died", "exited with status 7"),
        ("Exits", "task-crashed", "an error of its own (SystemExit)"),
        ("Interrupts", "task-crashed", "an error of its own (KeyboardInterrupt)"),
    ],
)
def test_a_bad_ticket_fails_with_its_reason_and_the_next_one_runs(instance, service, problem, words):
    ticket = instance.submit(service, {})
    after = instance.submit("Fine", {"x": 3})
    status = instance.wait(ticket, 60)
    assert (status["state"], status["error"]["type"]) == ("failed", f"/problems/{problem}")
    assert words in status["error"]["detail"]
    starts = instance.log("TaskScheduling.py").count(f"service={service} ")
    assert starts == (2 if problem == "worker-died" else 1)
    assert instance.wait(after, 60)["state"] == "succeeded"


def test_a_task_that_does_not_listen_is_cancelled_within_two_seconds(instance):
    ticket = instance.submit("Deaf", {})
    instance.until(lambda: instance.status(ticket)["state"] == "running")
    worker = instance.worker_pid()
    began = time.monotonic()
    assert requests.delete(instance.url + ticket["links"]["cancel"], timeout=10).status_code == 202
    assert instance.wait(ticket, 10)["state"] == "cancelled"
    assert time.monotonic() - began < 2
    after = instance.submit("Fine", {"x": 3})
    assert instance.wait(after, 60)["state"] == "succeeded"
    assert instance.worker_pid() != worker
