"""What other processes of a door's user can see of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nobody import NOBODY

REPOSITORY = Path(__file__).resolve().parents[2]
URL = "postgresql://role:secret-1@host/name"
DOOR = """
import ctypes, os, sys
from tomaat.processes.private import forget_database, keep_private
from tomaat.processes.proc import boot_and_namespace, own_threads, start_time
boot_and_namespace(), start_time(1)  # imports what nobody may not be able to read later
if "as nobody" in sys.argv:
    os.setgid(65534), os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it is after a program was started
if "private" in sys.argv:
    keep_private()
if "door" in sys.argv:
    forget_database()
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
print(os.environ.get("TOMAAT_DATABASE_URL"), libc.getenv(b"TOMAAT_DATABASE_URL"), libc.getenv(b"PGPASSWORD"))
print(start_time(os.getpid()) > 0, own_threads(), bool(boot_and_namespace()), len(os.listdir("/proc/self/fd")) > 2)
sys.stdout.flush()
sys.stdin.read()
"""
SPY = """
import os, sys
os.setgid(65534), os.setuid(65534)
for name in ("environ", "mem", "fd", "maps", "cmdline", "stat"):
    try:
        if name == "fd":
            os.listdir(f"/proc/{sys.argv[1]}/fd")
        else:
            open(f"/proc/{sys.argv[1]}/{name}", "rb").close()
        print(name)
    except PermissionError:
        pass
"""


@pytest.fixture
def door():
    started = []

    def start(*words):
        environment = {
            "PATH": os.environ["PATH"],
            "TOMAAT_DATABASE_URL": URL,
            "PGPASSWORD": "secret-2",
            "LAST": "after",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", DOOR, *words],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process.pid, process.stdout.readline().strip(), process.stdout.readline().strip()

    yield start
    for process in started:
        process.communicate("")
        assert process.returncode == 0


def test_the_secrets_are_gone_from_what_the_kernel_shows_and_the_other_variables_stay(door):
    pid, said, _ = door()
    assert said == f"{URL} b'{URL}' b'secret-2'"
    assert b"secret-1" in Path(f"/proc/{pid}/environ").read_bytes()
    pid, said, _ = door("private")
    assert said == f"{URL} b'{URL}' b'secret-2'", "whoever reads the settings, and libpq, still find them"
    shown = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"secret" not in shown
    assert b"LAST=after" in shown
    assert f"PATH={os.environ['PATH']}".encode() in shown


def test_a_door_forgets_the_databases_url(door):
    pid, said, _ = door("door")
    assert said == "None None b'secret-2'"
    assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_of_the_same_user_sees_no_memory_and_the_door_still_sees_itself(door):
    def seen_of(pid):
        command = [sys.executable, "-c", SPY, str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    open_to_all, _, _ = door("as nobody")
    assert Path(f"/proc/{open_to_all}").stat().st_uid == NOBODY
    assert seen_of(open_to_all) == ["environ", "mem", "fd", "maps", "cmdline", "stat"]
    private, _, itself = door("as nobody", "private")
    assert seen_of(private) == ["cmdline", "stat"]
    assert itself == "True 1 True True"
