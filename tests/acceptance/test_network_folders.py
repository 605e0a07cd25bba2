"""Network folders in a running service: added, changed, refused, trusted and removed; and in an environment apart."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import requests

from tests.integration.card_folders import PLACES, a_folder, a_network, files
from tests.service import REPOSITORY
from tomaat.contents.digest import sha256_of_weights

TASK = """
from tomaat.services import Task
class Fine(Task):
    task_identifier = "Fine"
    description = "Has no inputs."
    inputs = ()
    def perform(self):
        return {"fine": True}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folders of networks as they were left: one of ONNX, and one of TorchScript."""
    made = tmp_path_factory.mktemp("left")
    for kind in ("onnx", "ts"):
        a_folder(made, a_network(), kind=kind)
    return made


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return files(tmp_path_factory.mktemp("scans"), PLACES["oblique, turned, flipped, anisotropic"])


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of another virtual environment, which finds the packages of this one."""
    folder = tmp_path_factory.mktemp("other")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "these.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin/python"


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service, place, python):
    tasks = tmp_path_factory.mktemp("tasks")
    (tasks / "FineTask.py").write_text(TASK)
    shutil.copytree(place / "Twoonnx", tasks / "Apart")
    made = make_service(CUSTOM_TASKS_DIR=str(tasks), ENVIRONMENTS=json.dumps({"Apart": str(python)}))
    made.tasks = tasks
    made.start()
    made.wait_until_ready("Fine", "Apart")
    return made


def command(instance, *words):
    return subprocess.run(
        [sys.executable, "-m", "tomaat.services", *map(str, words)],
        cwd=REPOSITORY,
        env=instance.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def service(instance, name):
    return next((each for each in instance.services() if each["name"] == name), None)


def manifest(instance, name, scans):
    """Send two volumes, and read what the result tells of itself."""
    sent = {id: (path.name, path.read_bytes()) for id, path in zip(("t1", "t2"), scans, strict=True)}
    answer = requests.post(f"{instance.url}/request", data={"service": name}, files=sent, timeout=60)
    assert answer.status_code == 202, answer.text
    ticket = answer.json()
    status = instance.wait(ticket, 60)
    assert status["state"] == "succeeded", status
    return json.loads(instance.result(ticket)["result.json"])


def workers_of(python):
    """The processes that another environment's Python runs as workers."""
    lines = [path.read_bytes().split(b"\0") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line for line in lines if line[:3] == [str(python).encode(), b"-m", b"tomaat.worker"]]


def test_a_folder_is_added_serves_at_once_and_is_removed(instance, place, scans):
    added = command(instance, "add", place / "Twoonnx", "--name", "Two")
    assert added.returncode == 0, added.stderr
    assert "Two: ONNX, in " in added.stdout
    assert "offered are Fine, Two" in added.stdout
    sha256 = sha256_of_weights(place / "Twoonnx")
    offered = service(instance, "Two")
    assert (offered["kind"], offered["weights_sha256"], offered["available"]) == ("ONNX", sha256, True)
    told = manifest(instance, "Two", scans)
    assert (told["kind"], told["weights_sha256"]) == ("ONNX", sha256)
    assert told["packages"].keys() >= {"onnxruntime", "torch"}
    assert [label["name"] for label in told["outputs"][0]["labels"]] == ["liver", "lesion"]
    removed = command(instance, "remove", "Two")
    assert removed.returncode == 0, removed.stderr
    assert "offered are Fine\n" in removed.stdout
    assert service(instance, "Two") is None


def test_a_service_with_an_environment_of_its_own_is_run_by_that_python_on_the_same_device(instance, python, scans):
    (_,) = workers_of(python)
    told = manifest(instance, "Apart", scans)
    assert told["compute_source"] == "test/cpu-0"
    assert instance.wait(instance.submit("Fine", {}), 60)["compute_source"] == "test/cpu-0"
    log = instance.log("TaskScheduling.py")
    assert "task.refused" not in log, "neither environment looks at what is the other's"


def test_a_changed_folder_takes_effect_when_it_is_asked_for_and_a_wrong_one_leaves_the_former(instance, scans):
    card = instance.tasks / "Apart/tomaat.yaml"
    before = card.read_text()
    card.write_text(before.replace("1: liver", "1: spleen"))
    assert manifest(instance, "Apart", scans)["outputs"][0]["labels"][0]["name"] == "liver"
    assert command(instance, "reload").returncode == 0
    told = manifest(instance, "Apart", scans)
    assert told["outputs"][0]["labels"][0]["name"] == "spleen"
    assert told["weights_sha256"] == sha256_of_weights(instance.tasks / "Apart")
    card.write_text(before.replace("orientation: RAS", "orientation: RAR"))
    refused = command(instance, "reload")
    assert refused.returncode == 1
    assert "tomaat.yaml, line 6: orientation: 'RAR'" in refused.stdout
    assert "the former tasks serve" in refused.stdout
    assert manifest(instance, "Apart", scans)["outputs"][0]["labels"][0]["name"] == "spleen"
    card.write_text(before)
    again = command(instance, "reload", "Apart")
    assert (again.returncode, again.stdout) == (0, "test/cpu-0: offered are Apart\n")


def test_a_folder_with_code_is_refused_until_it_is_trusted(instance, place, scans):
    refused = command(instance, "add", place / "Twots", "--name", "Scripted")
    assert refused.returncode == 1
    assert "type the same with --trust" in refused.stderr
    shutil.copytree(place / "Twots", instance.tasks / "Scripted")
    by_hand = command(instance, "reload")
    assert by_hand.returncode == 1
    assert "Scripted is not trusted" in by_hand.stdout
    assert instance.wait(instance.submit("Fine", {}), 60)["state"] == "succeeded"
    trusted = command(instance, "trust", "Scripted")
    assert trusted.returncode == 0, trusted.stdout
    assert manifest(instance, "Scripted", scans)["kind"] == "TorchScript"
