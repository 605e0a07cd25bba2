"""Compute sources as a fake NVML shows them; each asked in a process of its own, since NVML is loaded once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import dataclasses, json, sys
import structlog
from tomaat.devices.nvml import ComputeSourcesUnknown
from tomaat.devices.sources import find_sources
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
wanted, devices, memory_bytes = json.loads(sys.argv[1])
try:
    found = find_sources("here", wanted=wanted, devices=devices, memory_bytes=memory_bytes)
except ComputeSourcesUnknown as error:
    print(json.dumps(str(error)))
else:
    print(json.dumps([dataclasses.asdict(source) for source in found]))
"""


def find(environment, wanted=None, devices=None, memory_bytes=None):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([wanted, devices or {}, memory_bytes or {}])],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr


def test_each_gpu_is_a_source_by_its_uuid(fake_nvml):
    found, _ = find(fake_nvml("GPU-aaa GPU-bbb"))
    assert [source["name"] for source in found] == ["here/GPU-aaa", "here/GPU-bbb"]
    assert [source["visible_devices"] for source in found] == ["GPU-aaa", "GPU-bbb"]
    assert [source["device_name"] for source in found] == ["Fake GPU 0", "Fake GPU 1"]
    assert [source["memory_bytes"] for source in found] == [2**34, 2**35]
    assert {source["torch_device"] for source in found} == {"cuda:0"}


def test_a_lost_gpu_is_told_and_its_neighbours_serve(fake_nvml):
    found, log = find(fake_nvml("GPU-aaa GPU-bbb!lost GPU-ccc"))
    assert [source["name"] for source in found] == ["here/GPU-aaa", "here/GPU-ccc"]
    assert "gpu.unusable" in log
    assert "GPU is lost" in log


@pytest.mark.parametrize("gpus", ["!no-driver", ""])
def test_without_a_driver_or_a_gpu_there_is_the_cpu(fake_nvml, gpus):
    found, _ = find(fake_nvml(gpus))
    assert [(source["name"], source["torch_device"]) for source in found] == [("here/cpu-0", "cpu")]


def test_without_the_library_there_is_the_cpu():
    found, log = find({name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"})
    if "Driver" not in log:
        assert [source["name"] for source in found] == ["here/cpu-0"]


def test_a_broken_driver_is_no_reason_to_fall_back_to_the_cpu_in_silence(fake_nvml):
    told, _ = find(fake_nvml("!mismatch"))
    assert "mismatch" in told
    assert "TOMAAT_COMPUTE_SOURCES" in told


def test_cpu_sources_by_name_need_no_nvml(fake_nvml):
    found, _ = find(fake_nvml("!mismatch"), {"cpu-0": None, "cpu-1": ["Dummy"]})
    assert [(source["name"], source["services"]) for source in found] == [
        ("here/cpu-0", None),
        ("here/cpu-1", ["Dummy"]),
    ]


def test_a_wanted_gpu_that_is_not_there_is_reported_unusable(fake_nvml):
    found, _ = find(fake_nvml("GPU-aaa"), {"GPU-zzz": None})
    assert "NVML shows no GPU of this UUID; it shows GPU-aaa" in found[0]["problem"]


def test_a_key_that_is_no_source_is_refused(fake_nvml):
    told, _ = find(fake_nvml("GPU-aaa"), {"gpu0": None})
    assert told.startswith("gpu0: a compute source is")


def test_a_source_can_be_mapped_to_torchs_cpu(fake_nvml):
    found, _ = find(fake_nvml("GPU-aaa"), None, {"GPU-aaa": "cpu"})
    assert (found[0]["torch_device"], found[0]["visible_devices"]) == ("cpu", "")


def test_a_source_may_be_given_less_memory_than_it_has_and_not_more(fake_nvml):
    limits = {"GPU-aaa": 2**30, "GPU-bbb": 2**40, "cpu-0": 2**31}
    found, _ = find(fake_nvml("GPU-aaa GPU-bbb"), {**dict.fromkeys(limits), "cpu-1": None}, None, limits)
    assert [source["memory_bytes"] for source in found] == [2**30, 2**35, 2**31, None]


def test_two_fake_gpus_run_tickets_side_by_side_where_they_are_mapped_to_the_cpu(fake_nvml, own_service):
    instance = own_service(COMPUTE_DEVICES='{"GPU-aaa": "cpu", "GPU-bbb": "cpu"}')
    instance.environment |= {name: fake_nvml("GPU-aaa GPU-bbb")[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML")}
    instance.start()
    instance.wait_until_ready()
    instance.until(lambda: len(instance.rows("SELECT DISTINCT source FROM offers")) == 2)
    tickets = [instance.submit("Dummy", {"seconds": 0.5}) for _ in range(4)]
    used = {instance.wait(ticket)["compute_source"] for ticket in tickets}
    assert used == {"test/GPU-aaa", "test/GPU-bbb"}


def test_a_gpu_that_torch_cannot_use_is_reported_and_not_replaced(fake_nvml, own_service):
    instance = own_service()
    instance.environment |= {name: fake_nvml("GPU-aaa")[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML")}
    instance.start()
    instance.until(lambda: "source.unusable" in instance.log("TaskScheduling.py"), 60)
    row = instance.rows("SELECT name, problem FROM compute_sources")[0]
    assert row.name == "test/GPU-aaa"
    assert row.problem.startswith("torch cannot use cuda:0")
    assert instance.services() == []


LOOK = """
import json
from tomaat.doctor.devices import look_at_devices
from TOMAATSettings import Settings
print(json.dumps([[each.about, each.level, each.says] for each in look_at_devices(Settings())]))
"""


def look(environment):
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_doctor_tells_a_gpu_that_nvml_shows_and_torch_does_not_see(fake_nvml):
    lost, torch = look(fake_nvml("GPU-aaa GPU-bbb!lost"))
    assert lost[:2] == ["GPUs", "problem"]
    assert "NVML has lost GPU 1" in lost[2]
    assert torch[:2] == ["torch", "problem"]
    assert "does not see GPU-aaa, which NVML shows" in torch[2]


def test_the_doctor_tells_that_nvml_does_not_start(fake_nvml):
    ((about, level, says),) = look(fake_nvml("!mismatch"))
    assert (about, level) == ("GPUs", "problem")
    assert "NVML" in says
