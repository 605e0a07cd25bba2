"""Network folders in a running service: added, changed, refused, trusted and removed; and in an environment apart."""

import json
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest
import requests
import torch

from tests.integration.card_folders import CARD, PLACES, Network, a_folder, a_network, files, saved
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
#: Another onnxruntime than the one that is installed: its networks give the label 2 everywhere.
OTHER_ONNXRUNTIME = """
import numpy as np


class SessionOptions:
    def add_session_config_entry(self, key, value):
        pass


class Argument:
    type = "tensor(float)"

    def __init__(self, name, channels):
        self.name, self.shape = name, [1, channels, "i", "j", "k"]


class InferenceSession:
    def __init__(self, file, options, providers):
        self.get_inputs, self.get_outputs = lambda: [Argument("voxels", 2)], lambda: [Argument("logits", 3)]

    def run(self, names, given):
        found = np.zeros((1, 3, *given["voxels"].shape[2:]), np.float32)
        found[:, 2] = 1
        return [found]
"""
SLOW = CARD + "patch: 8\noverlap: 0.92\nmirroring: ijk\n"


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


def an_environment(folder):
    """Make a virtual environment that finds the packages of this one; give its Python and the folder of its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "these.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin/python", packages


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of another virtual environment."""
    return an_environment(tmp_path_factory.mktemp("other"))[0]


@pytest.fixture(scope="module")
def clashing(tmp_path_factory):
    """The Python of a third one, which has another version of a package."""
    python, packages = an_environment(tmp_path_factory.mktemp("clashing"))
    (packages / "onnxruntime.py").write_text(OTHER_ONNXRUNTIME)
    facts = packages / "onnxruntime-0.0.1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: 0.0.1\n")
    return python


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service, place, python, clashing):
    tasks = tmp_path_factory.mktemp("tasks")
    (tasks / "FineTask.py").write_text(TASK)
    environments = {"Apart": str(python), "Clashing": str(clashing)}
    for name in environments:
        shutil.copytree(place / "Twoonnx", tasks / name)
    made = make_service(CUSTOM_TASKS_DIR=str(tasks), ENVIRONMENTS=json.dumps(environments))
    made.tasks = tasks
    made.start()
    made.wait_until_ready("Fine", *environments)
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


def ask(instance, name, scans, **values):
    """Send volumes; give the ticket."""
    sent = {id: (path.name, path.read_bytes()) for id, path in zip(("t1", "t2"), scans, strict=True)}
    answer = requests.post(f"{instance.url}/request", data={"service": name, **values}, files=sent, timeout=60)
    assert answer.status_code == 202, answer.text
    return answer.json()


def manifest(instance, name, scans):
    """Send volumes, and read what the result tells of itself."""
    return told_of(instance, ask(instance, name, scans))


def told_of(instance, ticket):
    """Wait for a ticket, and read what its result tells of itself."""
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


def test_two_services_whose_packages_clash_run_side_by_side_on_one_source(instance, python, clashing, scans):
    tickets = [ask(instance, name, scans) for name in ("Apart", "Clashing")]
    own, other = (told_of(instance, ticket) for ticket in tickets)
    assert {instance.status(ticket)["compute_source"] for ticket in tickets} == {"test/cpu-0"}
    assert (own["packages"]["onnxruntime"], other["packages"]["onnxruntime"]) == (version("onnxruntime"), "0.0.1")
    voxels = [[label["voxels"] for label in told["outputs"][0]["labels"]] for told in (own, other)]
    assert voxels[1] == [0, 13 * 10 * 9]
    assert min(voxels[0]) > 0
    assert [len(workers_of(each)) for each in (python, clashing)] == [1, 1]


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


def test_a_folder_that_changes_while_tickets_run_is_neither_loaded_unasked_nor_untrusted(instance, place, tmp_path):
    """Tickets of the former interface end by the former network, or wait for it; the next ones run the new one."""
    scans = files(tmp_path, PLACES["RAS"], (14, 14, 12))
    shutil.copytree(place / "Twots", tmp_path / "Changing")
    (tmp_path / "Changing/tomaat.yaml").write_text(SLOW)
    assert command(instance, "add", tmp_path / "Changing", "--trust").returncode == 0
    folder = instance.tasks / "Changing"
    former = sha256_of_weights(folder)

    def running():
        ticket = ask(instance, "Changing", scans)
        instance.until(lambda: (instance.status(ticket)["progress"] or 0.0) > 0.05)
        return ticket

    def end(ticket):
        told = told_of(instance, ticket)
        return told["weights_sha256"], told["outputs"][0]["labels"][0]["name"]

    slow, waiting = running(), ask(instance, "Changing", scans, mirroring="false")
    (folder / "tomaat.yaml").write_text(SLOW.replace("1: liver", "1: spleen").replace("name: T1", "name: T1 MRI"))
    torch.manual_seed(4)
    (folder / "network.ts").write_bytes(saved(Network(), "ts", (2, 8, 8, 8), False))
    later = sha256_of_weights(folder)
    assert instance.status(slow)["state"] == "running"
    assert [end(slow), end(waiting)] == [(former, "liver")] * 2

    slow = running()
    refused = command(instance, "reload")
    assert refused.returncode == 1
    assert "Changing has changed since it was trusted" in refused.stdout
    assert end(slow) == (former, "liver")

    slow, waiting = running(), ask(instance, "Changing", scans, mirroring="false")
    trusted = command(instance, "trust", "Changing")
    assert trusted.returncode == 0, trusted.stdout
    assert end(slow) == (former, "liver")
    assert end(ask(instance, "Changing", scans, mirroring="false")) == (later, "spleen")

    (folder / "tomaat.yaml").write_text(SLOW)
    shutil.copy(place / "Twots/network.ts", folder)
    assert command(instance, "trust", "Changing").returncode == 0
    assert end(waiting) == (former, "liver")
