"""The whole service on a Ray cluster of two nodes, which are two raylets of this machine."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import requests

from tests.service import REPOSITORY, free_port
from tomaat.processes.proc import start_time

pytestmark = pytest.mark.slow
BOTH = {"one/cpu-0", "two/cpu-0"}


class RayCluster:
    """A head and another raylet; all that they start is of their sessions."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))  # a path of sockets is short
        self.port = free_port()
        (self.folder / "token").write_text(secrets.token_hex(32))
        self.credentials = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}
        self.programs = {}
        self.start("one", "--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}/t")

    def start(self, name, *options):
        options = options or (f"--address=127.0.0.1:{self.port}",)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *options, f"--node-name={name}", "--block"]
        more = ["--node-ip-address=127.0.0.1", "--num-cpus=0", "--num-gpus=0", "--object-store-memory=80000000"]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TOMAAT_")}
        environment |= self.credentials | {"PYTHONPATH": str(REPOSITORY), "RAY_DISABLE_IMPORT_WARNING": "1"}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                [*command, *more, "--disable-usage-stats"], env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, cwd="/",
            )  # fmt: skip

    def kill(self, name):
        """Kill a node: all of its session."""
        program = self.programs.pop(name)
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()

    def stop(self):
        for name in list(self.programs):
            self.kill(name)
        time.sleep(1)  # workers notice the end of their raylet
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster():
    made = RayCluster()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def service(cluster, make_service, tmp_path_factory):
    tasks = tmp_path_factory.mktemp("tasks")
    shutil.copy(REPOSITORY / "CustomTasks/DummyTask.py", tasks)
    made = make_service(
        RAY_ADDRESS=f"127.0.0.1:{cluster.port}",
        RAY_NODE_DIR=str(cluster.folder / "nodes"),
        COMPUTE_SOURCES='{"cpu-0": null}',
        CUSTOM_TASKS_DIR=str(tasks),
        LEASE_SECONDS="5",
        LOG_FORMAT="json",
    )
    made.environment |= cluster.credentials
    made.start()
    cluster.start("two")
    made.until(made.services, 90)
    made.until(lambda: sources(made) == BOTH, 90)
    return made


def sources(service):
    """Name the sources that offer something now."""
    rows = service.rows(
        """SELECT DISTINCT o.source FROM offers o JOIN leases l ON l.name = o.source AND l.epoch = o.epoch
           WHERE l.expires > clock_timestamp()"""
    )
    return {row.source for row in rows}


def nap(service, seconds):
    return service.submit("Dummy", {"kind": "sleep", "seconds": seconds})


def running_on(service, ticket):
    """Wait until a ticket runs; return its source."""
    service.until(lambda: service.status(ticket)["state"] == "running")
    return service.status(ticket)["compute_source"]


def workers(service):
    """Give the processes that are workers now, with their start times."""
    rows = service.rows("SELECT pid, started FROM workers")
    return {(row.pid, row.started) for row in rows if start_time(row.pid) == row.started}


def files_of_tickets(cluster):
    return [names for folder, _, names in os.walk(cluster.folder / "nodes") if folder.endswith("/in") and names]


def test_tickets_run_on_both_nodes_and_a_tickets_way_is_in_one_log(service, cluster):
    tickets = [nap(service, 0.5) for _ in range(4)]
    ended = [service.wait(ticket) for ticket in tickets]
    assert {each["state"] for each in ended} == {"succeeded"}
    assert {each["compute_source"] for each in ended} == BOTH
    assert b"slept_seconds" in service.result(tickets[0])["result.json"]
    service.until(lambda: not files_of_tickets(cluster))
    crashed = service.submit("Dummy", {"kind": "crash", "seconds": 0.0})
    assert service.wait(crashed)["state"] == "failed"
    lines = [line for line in service.log("TaskScheduling.py").splitlines() if f'"ticket": {crashed["id"]}' in line]
    assert any('"door": "worker"' in line for line in lines), "the worker's own line, from its node"


def test_a_ticket_that_runs_on_a_node_is_cancelled_within_two_seconds(service):
    ticket = nap(service, 60.0)
    source = running_on(service, ticket)
    began = time.monotonic()
    service.until(lambda: service.status(ticket)["progress"] > 0)
    cancel(service, ticket)
    assert time.monotonic() - began < 20, "ten times its bound"
    assert source in BOTH


def test_a_ticket_whose_worker_is_killed_on_its_node_runs_again(service):
    ticket = nap(service, 1.0)
    source = running_on(service, ticket)
    os.kill(service.worker_pid(source), signal.SIGKILL)
    ended = service.wait(ticket)
    assert (ended["state"], ended["claim"]) == ("succeeded", 2)
    service.until(lambda: sources(service) == BOTH)


def test_a_killed_scheduler_leaves_no_worker_and_its_successor_goes_on(service, cluster):
    ticket = nap(service, 20.0)
    running_on(service, ticket)
    before = workers(service)
    assert len(before) == 2
    service.kill("TaskScheduling.py")
    service.until(lambda: not workers(service), 20)
    service.until(lambda: not files_of_tickets(cluster))
    service.start("TaskScheduling.py")
    service.until(lambda: sources(service) == BOTH, 60)
    running_on(service, ticket)
    assert not before & workers(service)
    cancel(service, ticket)


def cancel(service, ticket):
    requests.delete(f"{service.url}{ticket['links']['cancel']}", timeout=10)
    service.until(lambda: service.status(ticket)["state"] == "cancelled")


def test_the_tickets_of_a_killed_node_go_to_another(service, cluster):
    tickets = [nap(service, 3.0) for _ in range(2)]
    assert {running_on(service, ticket) for ticket in tickets} == BOTH
    cluster.kill("two")
    ended = [service.wait(ticket, 90) for ticket in tickets]
    assert [each["state"] for each in ended] == ["succeeded"] * 2
    assert {each["compute_source"] for each in ended} == {"one/cpu-0"}
    assert sources(service) == {"one/cpu-0"}
