"""Processes that die with their parent."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tomaat.processes.dying import die_with_parent

REPOSITORY = Path(__file__).resolve().parents[2]

HELD = """
import ctypes, os, signal, subprocess, sys
from tomaat.processes.dying import die_with_parent
if len(sys.argv) == 1:
    worker = subprocess.Popen([sys.executable, sys.argv[0], str(os.getpid())], stdout=subprocess.PIPE)
    worker.stdout.readline()
    print(worker.pid, flush=True)
    worker.wait()
else:
    die_with_parent(int(sys.argv[1]), signal.SIGKILL)
    print("ready", flush=True)
    ctypes.PyDLL(None).sleep(20)  # no other thread of this process runs meanwhile
"""


def test_a_worker_dies_with_its_lane_whatever_holds_its_interpreter(tmp_path):
    program = tmp_path / "held.py"
    program.write_text(HELD)
    lane = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )
    worker = int(lane.stdout.readline())
    descriptor = os.pidfd_open(worker)
    lane.kill()
    lane.wait()
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)
    lane.stdout.close()


def test_a_process_whose_parent_is_gone_does_not_start():
    with pytest.raises(SystemExit, match="ended first"):
        die_with_parent(1 if os.getppid() != 1 else 2, signal.SIGTERM)
