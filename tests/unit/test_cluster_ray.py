"""How a cluster is joined, and what it is not joined without."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tomaat.cluster import node, ray_nodes
from tomaat.cluster.ray_nodes import RayNodes
from tomaat.devices.nvml import Gpu
from tomaat.launch.engines import make_engine
from tomaat.processes.misconfigured import Misconfigured
from tomaat.scheduling.worker_user import WorkerUser
from TOMAATSettings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = {"top": Path("/x"), "port": 0, "log_format": "text", "log_level": "info", "join": print}


def test_without_its_setting_nothing_of_a_cluster_is_loaded_and_with_it_ray_stays_in_a_program_of_its_own():
    program = """
import sys, TaskScheduling
from TOMAATSettings import Settings
from tomaat.launch.engines import make_engine, sources_here
def loaded(room): return [name for name in sys.modules if name == room or name.startswith(f"{room}.")]
here = Settings(COMPUTE_SOURCES={"cpu-0": None})
make_engine(here, sources_here(here), user=None, wake_main=print).close()
print(loaded("ray"), loaded("tomaat.cluster"))
make_engine(Settings(RAY_ADDRESS="auto"), [], user=None, wake_main=print)
print(loaded("ray"), "tomaat.cluster.ray_nodes" in loaded("tomaat.cluster"))
"""
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert run.stdout == "[] []\n[] True\n"


def test_a_cluster_without_ray_or_without_tokens_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(Misconfigured, match="RAY_AUTH_MODE=token"):
        RayNodes("auto", b"", **NODES)
    monkeypatch.setattr(ray_nodes.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Misconfigured, match=r"pip install -r requirements-ray\.txt"):
        RayNodes("auto", b"", **NODES)


def test_an_account_of_the_workers_is_refused_on_a_cluster():
    user = WorkerUser(name="w", uid=1, gid=1, groups=(), home="/")
    with pytest.raises(Misconfigured, match="TOMAAT_WORKER_USER"):
        make_engine(Settings(RAY_ADDRESS="auto"), [], user=user, wake_main=print)


@pytest.mark.parametrize(
    ("gpus", "wanted", "found"),
    [
        ([], None, []),
        (["GPU-1", "GPU-2"], None, ["n/GPU-1", "n/GPU-2"]),
        (["GPU-1", "GPU-2"], {"GPU-2": None, "GPU-9": None}, ["n/GPU-2"]),
        ([], {"GPU-2": None, "cpu-0": None, "cpu-1": ["Dummy"]}, ["n/cpu-0", "n/cpu-1"]),
        (["GPU-1"], {"cpu-0": None}, []),
    ],
)
def test_a_node_gives_its_own_gpus_and_its_cpu_only_where_a_setting_asks(monkeypatch, gpus, wanted, found):
    shown = [Gpu(uuid=each, name="A GPU", memory_bytes=1) for each in gpus]
    for module in (node, sys.modules["tomaat.devices.sources"]):
        monkeypatch.setattr(module, "find_gpus", lambda: shown)
    assert [source.name for source in node.sources_of("n", wanted, {}, {})] == found


def test_the_program_of_ray_is_started_again_when_it_has_ended_but_not_at_once(monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    started = []

    class Program:
        stdin = stdout = None
        returncode = 1

        def __init__(self, command, **_):
            started.append(command)

        def poll(self):
            return 1

    now = [100.0]
    monkeypatch.setattr(ray_nodes.subprocess, "Popen", Program)
    monkeypatch.setattr(ray_nodes, "time", SimpleNamespace(monotonic=lambda: now[0]))
    nodes = RayNodes("auto", b"", **NODES)
    nodes.tend()
    nodes.tend()
    assert len(started) == 1
    now[0] += ray_nodes.RETRY_SECONDS
    nodes.tend()
    assert len(started) == 2
