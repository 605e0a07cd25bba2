import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.service import free_port
from tomaat.postgres.postmaster import postmasters_of
from tomaat.postgres.private_postgres import PrivatePostgres

REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TOMAAT_", "MAKE"))}
#: lets make take the environment that runs this test, whose requirements are installed
THIS_VENV = (f"VENV={sys.prefix}", f"--old-file={sys.prefix}/requirements")


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=REPOSITORY,
        env=ENVIRONMENT | environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


class Serving:
    """A `make serve` with a storage folder and a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = ENVIRONMENT | {
            "TOMAAT_PORT": str(self.port),
            "TOMAAT_BASE_STORAGE_DIR": str(folder / "storage"),
            "TOMAAT_LEASE_SECONDS": "3",
            "TOMAAT_GRACE_SECONDS": "2",
            "TOMAAT_SPARE_WORKER": "false",  # its imports cost more than all else at the start
        }
        self.postgres = PrivatePostgres(folder / "storage" / "postgres")
        self.output = folder / "output"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tomaat.launch", "serve"],
                cwd=REPOSITORY,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_until_ready(self) -> None:
        self.until(lambda: "TOMAAT is ready" in self.output.read_text(), seconds=120)

    def until(self, true, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(requests.RequestException):
                if true():
                    return
            assert time.monotonic() < deadline, self.output.read_text()[-4000:]
            time.sleep(0.05)

    def answers(self) -> bool:
        services = requests.get(f"{self.url}/supportedservices", timeout=5)
        return services.status_code == 200 and any(service["available"] for service in services.json())

    def pids(self) -> dict[str, int]:
        """The programs that it runs, by name."""
        found = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == self.process.pid:
                    arguments = (folder / "cmdline").read_text().split("\0")
                    name = "postgres" if arguments[0].endswith("postgres") else Path(arguments[1]).stem
                    found[name] = int(folder.name)
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
        self.until(lambda: not postmasters_of(self.postgres.data))
        self.postgres.remove()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator:
    made = []

    def start() -> Serving:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Serving(folder))
        return made[-1]

    yield start
    for serving in made:
        serving.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A `make serve` for several tests, the last of which stops it."""
    made = Serving(tmp_path_factory.mktemp("serving"))
    yield made
    made.close()


def test_where_npm_is_missing_the_check_of_the_page_says_what_to_install(tmp_path):
    (tmp_path / "make").symlink_to(shutil.which("make"))
    (tmp_path / "package-lock.json").touch()
    checked = make("check-page", f"PAGE_CHECKS={tmp_path}", PATH=str(tmp_path))
    assert checked.returncode != 0
    assert "install the Debian packages nodejs and npm" in checked.stdout


def test_the_demo_shows_both_tickets_and_leaves_nothing_running(tmp_path):
    port = free_port()
    storage = tmp_path / "storage"
    postgres = PrivatePostgres(storage / "postgres")
    try:
        for _ in range(2):  # the second run finds the database of the first
            demo = make(*THIS_VENV, "demo", TOMAAT_PORT=str(port), TOMAAT_BASE_STORAGE_DIR=str(storage))
            assert demo.returncode == 0, demo.stdout + demo.stderr
            assert "So 2.5 + 4 is 6.5." in demo.stdout
            for side in ("sent", "received"):
                assert f"{side:<10}91 x 109 x 91 voxels of 2 x 2 x 2 mm, mean 33.4" in demo.stdout
            assert "smoothed.nii.gz" in demo.stdout
            assert "program.stopping" not in demo.stdout + demo.stderr, "the story ends without lines of the log"
            assert f'curl "http://127.0.0.1:{port}/status/' in demo.stdout
            assert postmasters_of(postgres.data) == []
            with pytest.raises(requests.ConnectionError):
                requests.get(f"http://127.0.0.1:{port}/supportedservices", timeout=5)
        assert {path.stem for path in (storage / "logs").iterdir()} == {"WebService", "QueueManager", "TaskScheduling"}
    finally:
        postgres.remove()


def test_the_example_holds_what_the_documents_say():
    with tarfile.open(REPOSITORY / "examples" / "payload_float_add.tar.gz") as archive:
        assert archive.getnames() == ["main.json"]
        assert archive.extractfile("main.json").read() == b'{"inputs": {"f1": 2.5, "f2": 4, "op": "add"}}\n'


def test_serve_says_that_it_is_ready(serving):
    serving.wait_until_ready()
    assert serving.answers()
    assert set(serving.pids()) == {"postgres", "WebService", "QueueManager", "TaskScheduling"}


@pytest.mark.parametrize("program", ["WebService", "QueueManager", "TaskScheduling", "postgres"])
def test_what_is_killed_under_serve_comes_back(serving, program):
    serving.until(serving.answers)
    before = serving.pids()
    os.kill(before[program], signal.SIGKILL)
    serving.until(lambda: serving.pids().get(program, before[program]) != before[program])
    serving.until(serving.answers)
    assert before.items() - serving.pids().items() == {(program, before[program])}


def test_two_instances_run_side_by_side_and_a_taken_port_or_folder_is_refused(serving, serve):
    second = serve()
    second.wait_until_ready()
    serving.until(serving.answers)
    assert second.answers()
    for change, sentence in (
        ({}, f"Port {second.port} of 127.0.0.1 cannot be used"),
        ({"TOMAAT_PORT": str(free_port())}, "Another PostgreSQL"),
        ({"TOMAAT_PORT": "0"}, "TOMAAT_PORT: "),
    ):
        refused = make(*THIS_VENV, "serve", **second.environment | change)
        assert refused.returncode != 0
        assert sentence in refused.stderr
        assert "Traceback" not in refused.stderr
    assert second.answers()
    assert serving.answers()


def test_serve_has_said_once_that_it_is_ready_and_stops_in_the_right_order(serving):
    serving.until(serving.answers)
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(60) == 0
    output = serving.output.read_text()
    assert output.count(f"TOMAAT is ready at {serving.url}\n") == 1
    stops = [line.split("program=")[1].strip() for line in output.splitlines() if "program.stopping" in line]
    assert stops == ["WebService", "TaskScheduling", "QueueManager", "PostgreSQL"]
    assert "shut down" in serving.postgres.log_file.read_text().splitlines()[-1]


def test_all_ends_with_a_killed_serve(serve):
    serving = serve()
    serving.wait_until_ready()
    pids = serving.pids()
    serving.process.kill()
    serving.process.wait()
    serving.until(lambda: not any(Path(f"/proc/{pid}").exists() and alive(pid) for pid in pids.values()))


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_text())
    return False


def test_an_environment_is_made_once_and_again_when_the_requirements_change(tmp_path):
    stamp = f"{tmp_path}/venv/requirements"
    arguments = (f"VENV={tmp_path}/venv", "PIP=true", f"PYTHON={sys.executable}", stamp)
    assert make(*arguments).returncode == 0
    assert Path(stamp).exists()
    assert make(*arguments, "--question").returncode == 0
    assert make(*arguments, "--question", "--what-if=requirements.txt").returncode == 1


@pytest.mark.parametrize(
    ("interpreter", "sentence"),
    [
        (None, "is not there. Install Python 3.10 to 3.13"),
        ('case "$*" in *version_info*) exit 1;; *) echo Python 3.7.1;; esac', "is Python 3.7.1; 3.10 to 3.13 will do"),
        ('case "$*" in *ensurepip*) exit 1;; esac', "Install the Debian package python3-venv"),
    ],
)
def test_an_interpreter_that_will_not_do_is_told_how_to_mend_it(tmp_path, interpreter, sentence):
    python = tmp_path / "python"
    if interpreter is not None:
        python.write_text(f"#!/bin/sh\n{interpreter}\n")
        python.chmod(0o755)
    made = make(f"VENV={tmp_path}/venv", f"PYTHON={python}", "demo")
    assert made.returncode != 0
    assert sentence in made.stderr
    assert not (tmp_path / "venv").exists()


def test_make_alone_lists_every_target():
    listed = make()
    makefile = (REPOSITORY / "Makefile").read_text().splitlines()
    targets = [target for line in makefile if line.startswith(".PHONY:") for target in line.split()[1:]]
    assert "clean" in targets
    assert all(f"make {target} " in listed.stdout for target in targets)
