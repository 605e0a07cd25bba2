import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.door import Door

REPOSITORY = Path(__file__).resolve().parents[2]
LAUNCHER = """
import sys, os, time
from pathlib import Path
from tomaat.launch.door import Door
door = Door(Path(sys.argv[1]), os.environ, grace_seconds=1)
door.start()
print(door.process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def make_door(tmp_path):
    doors = []

    def make(program: str, **environment: str) -> Door:
        path = tmp_path / "Standin.py"
        path.write_text(program)
        doors.append(Door(path, os.environ | environment, grace_seconds=1, log_file=tmp_path / f"{len(doors)}.log"))
        doors[-1].start()
        return doors[-1]

    yield make
    for door in doors:
        door.stop()


def wait_for(true, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_door_runs_until_it_is_stopped(make_door):
    door = make_door(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('ended well', flush=True)))\n"
        "print('up', flush=True)\ntime.sleep(600)"
    )
    wait_for(lambda: "up" in door.log_file.read_text())
    assert door.alive()
    door.stop()
    assert not door.alive()
    assert "ended well" in door.log_file.read_text()


def test_a_door_that_ignores_the_request_to_end_is_ended(make_door):
    door = make_door(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
    )
    wait_for(lambda: "up" in door.log_file.read_text())
    door.stop()
    assert door.process.returncode == -signal.SIGKILL


def test_a_door_gets_its_environment_and_the_current_folder(make_door):
    door = make_door(
        "import os; print(os.environ['TOMAAT_DATABASE_URL'], os.getcwd())", TOMAAT_DATABASE_URL="postgresql://x"
    )
    door.process.wait(10)
    assert door.log_file.read_text().split() == ["postgresql://x", str(Path.cwd())]


def test_a_terminals_interrupt_does_not_reach_a_door(make_door):
    door = make_door("import time; time.sleep(600)")
    assert os.getpgid(door.process.pid) != os.getpgid(0)


def test_a_door_that_exits_as_misconfigured_is_not_to_be_started_again(make_door):
    door = make_door("import sys; print('TOMAAT_PORT: 0 is no port.'); sys.exit(2)")
    door.process.wait(10)
    with pytest.raises(CannotStart, match=r"Standin cannot run as it is set up.*\n.*0 is no port"):
        door.alive()


def test_a_door_that_crashes_is_only_not_alive(make_door):
    door = make_door("raise SystemExit(1)")
    door.process.wait(10)
    assert not door.alive()


def test_a_door_gets_its_words_and_its_descriptors(tmp_path):
    (tmp_path / "Standin.py").write_text("import os, sys; print(os.read(int(sys.argv[2]), 9).decode())")
    out, into = os.pipe()
    os.write(into, b"told")
    words = ["--from", str(out)]
    door = Door(
        tmp_path / "Standin.py",
        os.environ,
        grace_seconds=1,
        log_file=tmp_path / "log",
        words=words,
        descriptors=[out],
    )
    door.start()
    door.process.wait(10)
    assert door.log_file.read_text() == "told\n"
    assert door.name == f"Standin --from {out}"
    os.close(out)
    os.close(into)


def test_a_door_ends_with_its_killed_launcher(tmp_path):
    program = tmp_path / "Standin.py"
    program.write_text("import time; time.sleep(600)")
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as launcher:
        pid = int(launcher.stdout.readline())
        wait_for(lambda: str(program) in Path(f"/proc/{pid}/cmdline").read_text())
        launcher.kill()
        wait_for(lambda: not runs(pid))


def runs(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_text())  # a zombie's is empty
    except (FileNotFoundError, ProcessLookupError):
        return False
