"""The server installed as a package, away from any clone: built, installed beside the pinned packages, and used."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from tests.service import Service, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
BUILT_OF = ("tomaat", "Inputs", "pyproject.toml", "requirements.txt", "README.md")
SERVE_SECONDS = 120


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Give the folder of programs of an environment with the server's wheel; its packages are those of this one."""
    folder = tmp_path_factory.mktemp("install")
    source = folder / "source"
    source.mkdir()
    for name in (*BUILT_OF, *(path.name for path in REPOSITORY.glob("*.py"))):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, source / name)
    for name in ("LICENSE", "NOTICE"):
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True)
    venv.create(folder / "venv", with_pip=False)
    purelib = next((folder / "venv/lib").glob("python*/site-packages"))
    (purelib / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    wheel = next(folder.glob("tomaat_server-*.whl"))
    subprocess.run([*pip, "--python", str(folder / "venv/bin/python"), "install", "--no-deps", str(wheel)], check=True)
    return folder / "venv/bin"


@pytest.fixture
def environment(tmp_path):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TOMAAT_", "PYTHON"))}
    return kept | {"TOMAAT_PORT": str(free_port()), "TOMAAT_LEASE_SECONDS": "5", "TOMAAT_GRACE_SECONDS": "2"}


def test_an_installed_server_serves_the_tasks_of_the_current_folder(installed, environment, tmp_path):
    home = tmp_path / "home"
    (home / "CustomTasks").mkdir(parents=True)
    shutil.copy(REPOSITORY / "CustomTasks/FloatComputationTask.py", home / "CustomTasks")
    with (home / "said").open("wb") as said:
        server = subprocess.Popen(
            [installed / "tomaat-server", "serve"], cwd=home, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + SERVE_SECONDS
        while "TOMAAT is ready" not in (home / "said").read_text():
            assert server.poll() is None, (home / "said").read_text()
            assert time.monotonic() < deadline, (home / "said").read_text()
            time.sleep(0.1)
        client = Service(home, "")
        client.url = f"http://127.0.0.1:{environment['TOMAAT_PORT']}"
        ticket = client.submit("FloatComputation", {"f1": 2.5, "f2": 4.0, "op": "add"})
        assert client.wait(ticket)["state"] == "succeeded"
        assert json.loads(client.result(ticket)["result.json"])["service"] == "FloatComputation"
        keys = [installed / "tomaat-server", "keys", "make", "radiology"]
        made = subprocess.run(keys, cwd=home, env=environment, capture_output=True, text=True, check=True)
        assert made.stdout.startswith("tomaat_")
        looks = [installed / "tomaat-server", "doctor", "--json"]
        said = subprocess.run(looks, cwd=home, env=environment, capture_output=True, text=True, check=False)
        found = {each["about"]: each["level"] for each in json.loads(said.stdout)["findings"]}
        assert (found["packages of requirements.txt"], found["database"], found["tasks"]) == ("ok", "ok", "ok"), said
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    assert (home / "storage/tickets").is_dir()


def test_the_program_names_its_commands(installed, environment, tmp_path):
    helped = subprocess.run(
        [installed / "tomaat-server", "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for command in ("serve", "webservice", "queuemanager", "taskscheduling", "keys", "backup", "doctor", "try"):
        assert f"  {command} " in helped.stdout


def test_a_task_is_tried_with_the_installed_program(installed, environment, tmp_path):
    task = REPOSITORY / "CustomTasks/FloatComputationTask.py"
    words = ["try", str(task), "f1=2", "f2=3", "op=multiply", "--out", str(tmp_path / "out")]
    tried = subprocess.run(
        [installed / "tomaat-server", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "6" in tried.stdout
