"""Tasks that hang while they load, leave children behind, or change while the service runs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import requests

from tomaat.processes.proc import start_time

REPOSITORY = Path(__file__).resolve().parents[2]
HEAD = """
import os, subprocess, sys, time
from Inputs import FloatInput, StringInput
from tomaat.services import Task

class _Task(Task):
    description = "A task of a test."
    inputs = [FloatInput("x", "X", default=0)]
    def perform(self, x):
        return {"x": x}
"""
FINE = """
class Fine(_Task):
    task_identifier = "Fine"
    def perform(self, x):
        return {"version": "VERSION"}
"""
HANGS = """
class Hangs(_Task):
    task_identifier = "Hangs"
    load_deadline_seconds = 2.0
    def load(self, device):
        time.sleep(600)
"""
FORKS = """
class Forks(_Task):
    '''Leaves children that hold all of its descriptors, one of them in a session of its own, and dies.'''
    task_identifier = "Forks"
    inputs = [StringInput("into", "File for the children's ids")]
    def perform(self, into):
        children = [subprocess.Popen(["sleep", "600"], close_fds=False, start_new_session=new) for new in (False, True)]
        with open(into, "w") as file:
            print(*(child.pid for child in children), file=file)
        os._exit(3)
"""


def write(folder, name, text):
    (folder / f"{name}.py").write_text(textwrap.dedent(HEAD + text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("loading")
    write(made, "FineTask", FINE)
    write(made, "ForksTask", FORKS)
    write(made, "AHangingTask", HANGS)
    return made


@pytest.fixture(scope="module")
def instance(folder, make_service):
    made = make_service(CUSTOM_TASKS_DIR=str(folder), ATTEMPTS="1")
    made.start()
    made.wait_until_ready("Fine", "Forks")
    return made


def version(instance):
    ticket = instance.submit("Fine", {})
    assert instance.wait(ticket, 60)["state"] == "succeeded"
    (output,) = json.loads(instance.result(ticket)["result.json"])["outputs"]
    return output["value"]


def offered(instance):
    return {each["name"] for each in requests.get(instance.url + "/supportedservices", timeout=10).json()}


def reload(instance, *services):
    return subprocess.run(
        [sys.executable, "-m", "tomaat.services", "reload", *services],
        cwd=REPOSITORY,
        env=instance.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_task_that_hangs_while_it_loads_keeps_no_other_away(instance):
    assert "Hangs" not in offered(instance)
    assert instance.wait(instance.submit("Fine", {}), 60)["state"] == "succeeded"
    assert "task.loading" in instance.log("TaskScheduling.py")
    assert "it was not loaded within 2 s" in instance.log("TaskScheduling.py")


def test_what_a_dead_worker_has_started_ends_with_it_and_its_ticket_does_not_wait_for_that(instance, tmp_path):
    into = tmp_path / "children"
    ticket = instance.submit("Forks", {"into": str(into)})
    status = instance.wait(ticket, 30)
    assert status["error"]["type"] == "/problems/worker-died"
    assert "exited with status 3" in status["error"]["detail"]
    children = [int(child) for child in into.read_text().split()]
    assert len(children) == 2
    instance.until(lambda: [start_time(child) for child in children] == [None, None], 30)


def test_a_changed_task_is_loaded_on_purpose_and_by_no_workers_death(instance, folder):
    assert version(instance) == "VERSION"
    write(folder, "FineTask", FINE.replace("VERSION", "2"))
    killed = instance.worker_pid()
    os.kill(killed, signal.SIGKILL)
    instance.until(lambda: instance.worker_pid() != killed, 60)  # a ticket that it was just given would die with it
    assert version(instance) == "VERSION"
    told = reload(instance)
    assert (told.returncode, told.stderr) == (0, "")
    assert "offered are Fine, Forks" in told.stdout
    assert version(instance) == "2"


def test_a_changed_task_that_fails_is_told_and_the_former_one_serves(instance, folder):
    before = version(instance)
    write(folder, "FineTask", FINE + "\nthis is no Python\n")
    told = reload(instance, "Fine")
    assert told.returncode == 1
    assert "FineTask.py: SyntaxError" in told.stdout
    assert version(instance) == before


def test_a_hangup_loads_what_has_changed(instance, folder):
    write(folder, "FineTask", FINE.replace("VERSION", "by hangup"))
    instance.doors["TaskScheduling.py"].send_signal(signal.SIGHUP)
    instance.until(lambda: version(instance) == "by hangup", 60)


def test_a_renamed_task_is_offered_by_its_new_name_only(instance, folder):
    write(folder, "FineTask", FINE.replace("VERSION", "3").replace('"Fine"', '"Finer"'))
    assert reload(instance).returncode == 0
    instance.until(lambda: "Finer" in offered(instance))
    write(folder, "FineTask", FINE.replace("VERSION", "4"))
    assert reload(instance).returncode == 0
    assert version(instance) == "4"
