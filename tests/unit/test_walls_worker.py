"""What the worker's program and TaskScheduling load, read from ``sys.modules``."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def loaded_by(module):
    program = f"import sys, {module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return run.stdout.split()


def of(loaded, *rooms):
    return [name for name in loaded if any(name == room or name.startswith(f"{room}.") for room in rooms)]


@pytest.fixture(scope="module")
def worker():
    return loaded_by("tomaat.worker.__main__")


@pytest.mark.parametrize("room", ["tickets", "database", "access", "scheduling", "manager", "web", "postgres"])
def test_the_worker_loads_nothing_of_the_rooms_behind_its_lane(worker, room):
    assert of(worker, f"tomaat.{room}") == []


def test_the_worker_loads_no_settings_and_nothing_that_speaks_to_a_database_or_over_http(worker):
    assert of(worker, "TOMAATSettings", "sqlalchemy", "psycopg2", "flask", "waitress", "requests", "pydantic") == []


def test_the_worker_needs_torch_only_when_its_device_is_prepared(worker):
    assert of(worker, "torch") == []


def test_task_scheduling_loads_no_task_and_nothing_heavy():
    loaded = loaded_by("TaskScheduling")
    assert of(loaded, "torch", "numpy", "SimpleITK", "pydicom", "highdicom", "CustomTasks", "custom_tasks") == []


def test_task_scheduling_loads_nothing_of_its_workers_program():
    assert of(loaded_by("TaskScheduling"), "tomaat.worker", "tomaat.services", "tomaat.reader", "tomaat.web") == []
