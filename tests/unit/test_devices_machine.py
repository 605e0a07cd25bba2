"""The machine's figures out of /proc."""

import pytest

from tomaat.devices.machine import Machine


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    250 kB\n")
    return tmp_path


def write(proc, *ticks):
    (proc / "stat").write_text(f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 2 3\n")


def test_the_machine_tells_its_memory_and_how_busy_it_was_meanwhile(proc):
    write(proc, 100, 0, 100, 500, 100, 0, 0, 0, 0, 0)
    machine = Machine(proc)
    write(proc, 120, 0, 110, 560, 110, 0, 0, 0, 70, 0)  # the guest's are counted among the first already
    reading = machine.read()
    assert (reading.used_bytes, reading.total_bytes) == (750 * 1024, 1000 * 1024)
    assert reading.use == pytest.approx(0.3)
    assert reading.celsius is None
    assert machine.read().use is None, "no time has passed"


def test_the_processors_of_this_machine_are_read():
    reading = Machine().read()
    assert 0 < reading.used_bytes < reading.total_bytes
