"""What GPUs tell of themselves, as a fake NVML has it."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import dataclasses, json, sys
from tomaat.devices.nvml import NvmlReader
reader = NvmlReader()
print(json.dumps([dataclasses.asdict(reader.read(uuid)) for uuid in sys.argv[1:]]))
"""


def read(environment, *uuids):
    command = [sys.executable, "-c", PROGRAM, *uuids]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


NOTHING = dict.fromkeys(("used_bytes", "total_bytes", "use", "celsius"))


def test_a_gpu_tells_its_memory_use_and_temperature(fake_nvml):
    (reading,) = read(fake_nvml("GPU-aaa GPU-bbb"), "GPU-bbb")
    assert reading == {"used_bytes": 2**33, "total_bytes": 2**35, "use": 0.37, "celsius": 61.0}


def test_what_a_gpu_does_not_tell_is_unknown_and_no_error(fake_nvml):
    environment = fake_nvml("GPU-aaa!mute GPU-bbb!lost GPU-ccc")
    mute, lost, absent, after = read(environment, "GPU-aaa", "GPU-bbb", "GPU-zzz", "GPU-ccc")
    assert mute == {"used_bytes": 2**32, "total_bytes": 2**34, "use": None, "celsius": None}
    assert lost == absent == NOTHING
    assert after["celsius"] == 61.0, "a GPU that is lost keeps no other from telling"


def test_without_a_driver_nothing_is_told(fake_nvml):
    assert read(fake_nvml("!no-driver"), "GPU-aaa") == [NOTHING]


def test_the_beats_write_what_each_device_tells(fake_nvml, own_service):
    instance = own_service(
        COMPUTE_SOURCES='{"GPU-aaa": null, "GPU-bbb": null, "cpu-0": []}',
        COMPUTE_DEVICES='{"GPU-aaa": "cpu", "GPU-bbb": "cpu"}',
    )
    instance.environment |= {name: fake_nvml("GPU-aaa GPU-bbb!mute")[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML")}
    instance.start("QueueManager.py", "TaskScheduling.py")
    told = "SELECT * FROM compute_sources WHERE device_read IS NOT NULL ORDER BY name"
    instance.until(lambda: "source.taken" in instance.log("TaskScheduling.py"), 60)
    instance.until(lambda: len(instance.rows(told)) == 3, 60)
    gpu, mute, cpu = instance.rows(told)
    assert (gpu.device_used_bytes, gpu.device_total_bytes, gpu.device_celsius) == (2**32, 2**34, 61)
    assert round(gpu.device_use, 2) == 0.37
    assert (mute.device_total_bytes, mute.device_use, mute.device_celsius) == (2**35, None, None)
    assert cpu.device_total_bytes > cpu.device_used_bytes > 0
    instance.until(lambda: instance.rows(told)[0].device_read > gpu.device_read)


def test_a_driver_that_hangs_keeps_no_ticket_and_no_lease_waiting(fake_nvml, own_service):
    instance = own_service(COMPUTE_DEVICES='{"GPU-aaa": "cpu"}')
    instance.environment |= {name: fake_nvml("GPU-aaa!hangs")[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML")}
    instance.start()
    instance.wait_until_ready("FloatComputation")
    ticket = instance.submit("Dummy", {"seconds": 5})  # longer than a lease
    assert instance.wait(ticket)["claim"] == 1
    assert instance.rows("SELECT device_read FROM compute_sources")[0].device_read is None
    assert instance.terminate("TaskScheduling.py") == 0
