"""The client on the real service: from its own installation, through kills, as its document says."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from tests.dicom_series import UID_ROOT, series, voxels_of
from tests.service import REPOSITORY
from tomaat.client import Client, Failed
from tomaat.client.place import NOTE

OLDEST = [shutil.which("python3.9"), *sorted((Path.home() / ".pyenv/versions").glob("3.9.*/bin/python3.9"))]


def works(python):
    return python is not None and subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


INTERPRETERS = [sys.executable, *filter(works, OLDEST)][:2]


def write_volume(path, seed):
    """Write a small volume of a blob in noise."""
    voxels = np.random.default_rng(seed).normal(100, 20, (24, 32, 28)).astype(np.float32)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.0, 2.0))
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module", params=INTERPRETERS, ids=lambda python: Path(python).name)
def installed(request, tmp_path_factory):
    """The folder of programs of an environment that holds the client and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    python = folder / "bin" / "python"
    subprocess.run([request.param, "-m", "venv", folder], check=True)
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", "install", *quiet, REPOSITORY / "tomaat" / "client"], check=True, cwd=folder)
    return folder / "bin"


@pytest.fixture
def tomaat(service, tmp_path):
    """Begin a command line in a folder of its own."""

    def begin(*arguments, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", "tomaat.client", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TOMAAT_URL": service.url, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def run(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_it_is_installed_by_itself_and_its_document_is_true(installed, service, tmp_path):
    folder = tmp_path / "work"
    (folder / "scans").mkdir(parents=True)
    for number, name in enumerate(("head", "scans/anna", "scans/bert")):
        write_volume(folder / f"{name}.nii.gz", number)
    document = (REPOSITORY / "docs/client.md").read_text()
    shell = re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
    shell = [code for code in shell if "pip install" not in code and "completion" not in code]
    python = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    (folder / "script.py").write_text("".join(python).replace("http://127.0.0.1:5000", service.url))
    (folder / "commands.sh").write_text(
        "set -euo pipefail\n" + "".join(shell).replace("https://tomaat.example.org", service.url)
    )
    environment = {"PATH": f"{installed}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    for command in (["bash", "commands.sh"], ["python", "script.py"]):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if command[0] == "bash":
            for block in re.findall(r"```text\n(.*?)```", document, re.DOTALL):
                assert block in done.stdout
    assert "6.5" in done.stdout
    told = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [(one["name"], one["state"]) for one in told] == [("anna", "succeeded"), ("bert", "succeeded")]
    sent, smoothed = (sitk.ReadImage(str(folder / name)) for name in ("head.nii.gz", "smooth/smoothed.nii.gz"))
    assert smoothed.GetSize() == sent.GetSize()
    assert smoothed.GetSpacing() == sent.GetSpacing()


def test_a_cohort_that_is_killed_again_and_again_is_complete_and_nothing_runs_twice(service, tomaat, tmp_path):
    (tmp_path / "scans").mkdir()
    names = [f"case{number}" for number in range(7)]
    for number, name in enumerate(names):
        write_volume(tmp_path / "scans" / f"{name}.nii", number)
    count = "SELECT count(*) AS n FROM tickets WHERE service = 'GaussianSmoothing'"
    before = service.rows(count)[0].n
    command = ("run", "GaussianSmoothing", "volume=scans/*.nii", "-o", "out", "-j", "3", "--json")

    def tickets():
        return service.rows(count)[0].n - before

    for wanted in (1, 3, 5):  # killed as soon as the server has so many of them
        process = tomaat(*command)
        deadline = time.monotonic() + 60
        while tickets() < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    code, out, err = run(tomaat(*command))
    assert code == 0, err
    assert [json.loads(line)["name"] for line in out.splitlines()] == names
    assert tickets() == len(names)
    for name in names:
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == {"result.json", "smoothed.nii.gz", NOTE}
        sent, smoothed = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / path)))
            for path in (f"scans/{name}.nii", f"out/{name}/smoothed.nii.gz")
        )
        assert abs(sent.mean() - smoothed.mean()) < 1
        assert smoothed.std() < sent.std() / 2
    code, out, _ = run(tomaat(*command))
    assert all(json.loads(line)["skipped"] for line in out.splitlines())
    assert tickets() == len(names)


def test_a_folder_of_dicom_images_is_sent_as_it_was_exported(tomaat, tmp_path):
    voxels = voxels_of((20, 18, 9))
    for place, series_of in enumerate((voxels, -voxels), start=1):
        folder = tmp_path / "study" / f"SE{place}"
        folder.mkdir(parents=True)
        for name, data in series(series_of, SeriesInstanceUID=f"{UID_ROOT}2.{place}").items():
            (folder / name).write_bytes(data)
    (tmp_path / "study" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "study" / "viewer.exe").write_bytes(b"MZ")
    command = ("run", "GaussianSmoothing", "sigma=0.5", "-q")
    code, _, err = run(tomaat(*command, "volume=study", "-o", "both"))
    assert code == 1
    assert f"{UID_ROOT}2.1" in err
    code, out, err = run(tomaat(*command, "volume=study", f"volume.series={UID_ROOT}2.2", "-o", "second"))
    assert code == 0, err
    code, out, err = run(tomaat(*command, "volume=study/*/", "-o", "each", "--json"))
    assert code == 0, err
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["SE1", "SE2"]
    smoothed = {
        name: sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / name / "smoothed.nii.gz")))
        for name in ("second", "each/SE1", "each/SE2")
    }
    assert smoothed["second"].shape == voxels.shape[::-1]
    assert np.array_equal(smoothed["second"], smoothed["each/SE2"])
    assert np.allclose(smoothed["each/SE1"], -smoothed["each/SE2"], atol=1e-3)


def test_exit_codes_tell_what_the_service_made_of_it(service, tomaat):
    assert run(tomaat("run", "FloatComputation", "f1=1.5", "f2=2", "-q"))[:2] == (0, "result: 3.5\n")
    code, _, err = run(tomaat("run", "Dummy", "kind=refuse", "seconds=0", "-q"))
    assert (code, err) == (1, "Dummy was asked to refuse.\n")
    code, _, err = run(tomaat("run", "FloatComputation", "f1=1", "f2=abc", "op=div", "-o", "bad", "-q"))
    assert code == 3
    assert err.splitlines() == [
        "The inputs were refused; nothing was sent.",
        "f2: 'abc' is not a number.",
        "op: 'div' is none of add, multiply.",
    ]
    assert run(tomaat("run", "Dumy", "-q"))[0] == 6
    assert run(tomaat("submit", "Dummy", "seconds=60", "-o", "long", "-q"))[0] == 0
    assert run(tomaat("fetch", "long"))[0] == 7
    assert run(tomaat("cancel", "long"))[0] == 0
    assert run(tomaat("fetch", "long", "--wait", "-q"))[0] == 8
    assert run(tomaat("services", "--patience", "0", TOMAAT_URL="http://127.0.0.1:1"))[0] == 4


def test_ctrl_c_leaves_the_ticket_to_go_on_and_the_command_finds_it_again(service, tomaat, tmp_path):
    command = ("run", "Dummy", "seconds=6", "-o", "out")
    process = tomaat(*command)
    note = tmp_path / "out" / NOTE
    service.until(lambda: note.exists() and json.loads(note.read_text())["token"], 60)
    process.send_signal(signal.SIGINT)
    code, _, err = run(process)
    assert code == 130
    assert "The same command goes on from here" in err
    id = json.loads(note.read_text())["id"]
    assert run(tomaat(*command))[0] == 0
    assert json.loads(note.read_text())["id"] == id


def test_a_broken_download_goes_on_with_the_service_too(service, tmp_path):
    write_volume(tmp_path / "scan.nii.gz", 3)
    ticket = Client(service.url).submit("GaussianSmoothing", volume=tmp_path / "scan.nii.gz")
    ticket.wait()
    whole = requests.get(f"{service.url}/result/{ticket.id}&{ticket.token}", timeout=60)
    out = tmp_path / "out"
    out.mkdir()
    (out / f".tomaat-{whole.headers['ETag'].strip(chr(34))}.part").write_bytes(whole.content[:1000])
    told = []
    ticket.fetch(out, on_step=told.append)
    assert told[0].fraction > 0
    reads = service.rows(
        "SELECT outcome FROM audit WHERE ticket = :id AND what = 'read result' ORDER BY id", id=ticket.id
    )
    assert [read.outcome for read in reads] == ["200", "206"]
    assert gzip.decompress((out / "smoothed.nii.gz").read_bytes())


def test_a_failure_reaches_python_as_the_services_sentence(service):
    ticket = Client(service.url).submit("Dummy", kind="refuse", seconds=0)
    with pytest.raises(Failed, match=r"^Dummy was asked to refuse\.$"):
        ticket.wait()
