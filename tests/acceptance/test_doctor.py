"""The doctor beside a whole service, before and while it runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import sqlalchemy

REPOSITORY = Path(__file__).resolve().parents[2]


def doctor(environment, *program):
    """Run it; returns its exit status, its findings' levels by what they are about, and all that it said."""
    run = subprocess.run(
        [sys.executable, *(program or ("-m", "tomaat.doctor")), "--json"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    findings = json.loads(run.stdout)["findings"]
    return run.returncode, {each["about"]: each["level"] for each in findings}, run.stdout + run.stderr


def test_a_running_service_is_well_and_a_door_that_is_gone_is_told(own_service):
    instance = own_service()
    instance.start()
    instance.wait_until_ready()
    status, levels, said = doctor(instance.environment)
    assert status == 0, said
    well = ("settings", "storage", "database", "schema", "database and storage", "port", "tasks", "torch", "offers")
    assert {about: levels[about] for about in well} == dict.fromkeys(well, "ok")
    assert (levels["QueueManager"], levels["source test/cpu-0"]) == ("ok", "ok")
    assert sqlalchemy.make_url(instance.database_url).password not in said
    instance.terminate("QueueManager.py")
    status, levels, said = doctor(instance.environment)
    assert levels["QueueManager"] == "warning"
    assert levels["port"] == "problem", "WebService says itself that it is not ready"
    assert status == 1


def test_before_anything_was_started_nothing_is_a_problem_and_nothing_is_made(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOMAAT_")}
    storage = tmp_path / "storage"
    status, levels, said = doctor(
        environment | {"TOMAAT_BASE_STORAGE_DIR": str(storage)}, "-m", "tomaat.launch", "doctor"
    )
    assert (status, levels["database"], levels["storage"]) == (0, "warning", "warning"), said
    assert "private PostgreSQL does not run" in said
    assert not storage.exists()


def test_make_doctor_looks_into_the_private_postgresql_that_runs(tmp_path):
    from tomaat.postgres.private_postgres import PrivatePostgres  # noqa: PLC0415 (one test's)

    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOMAAT_")}
    server = PrivatePostgres(tmp_path / "storage/postgres")
    url = server.start()
    try:
        status, levels, said = doctor(
            environment | {"TOMAAT_BASE_STORAGE_DIR": str(tmp_path / "storage")}, "-m", "tomaat.launch", "doctor"
        )
    finally:
        server.remove()
    assert (status, levels["database"], levels["schema"]) == (0, "ok", "warning"), said
    assert sqlalchemy.make_url(url).password not in said


def test_make_doctor_makes_no_environment(tmp_path):
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    run = subprocess.run(["make", "doctor"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "There is no .venv yet" in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]
