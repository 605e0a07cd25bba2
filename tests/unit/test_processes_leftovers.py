"""A worker's children end with it, whatever they have done to get away."""

import os
import subprocess
import sys
import time

from tomaat.processes import leftovers
from tomaat.processes.leftovers import end_session
from tomaat.processes.proc import session_members, start_time

SECONDS = 30.0
#: Starts a child that ignores what it may, in a group of its own, and tells its id.
PARENT = """
import os, signal, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], preexec_fn=lambda: os.setpgid(0, 0))
print(child.pid, flush=True)
time.sleep(600)
"""
#: A parent that adopts; its child's child leaves the session, and the child ends.
ADOPTER = """
import subprocess, sys, time
from tomaat.processes.leftovers import adopt_orphans, end_orphans
adopt_orphans()
own = subprocess.Popen(["sleep", "600"])
leaves = "import subprocess as s; print(s.Popen(['sleep', '600'], start_new_session=True, stdout=s.DEVNULL).pid)"
orphan = int(subprocess.run([sys.executable, "-c", leaves], stdout=subprocess.PIPE).stdout)
print(orphan, end_orphans({own.pid, 1}) == {own.pid}, own.poll() is None, flush=True)
own.kill()
"""


def is_gone(pid):
    give_up = time.monotonic() + SECONDS
    while start_time(pid) is not None:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True


def test_what_a_process_has_started_in_its_session_ends_with_it():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True)
    child = int(parent.stdout.readline())
    assert os.getpgid(child) == child
    assert set(session_members(parent.pid)) == {parent.pid, child}
    parent.kill()
    parent.wait()
    assert start_time(child) is not None, "it outlives its parent"
    end_session(parent.pid)
    assert is_gone(child)
    parent.stdout.close()


def test_a_process_that_left_the_session_of_a_parent_that_ended_is_adopted_and_ended():
    told = subprocess.run([sys.executable, "-c", ADOPTER], capture_output=True, text=True, check=True, timeout=SECONDS)
    orphan, *rest = told.stdout.split()
    assert rest == ["True", "True"], "its own child goes on"
    assert is_gone(int(orphan))


def test_an_orphan_that_the_kernel_does_not_end_is_not_waited_for(monkeypatch):
    child = subprocess.Popen(["sleep", str(SECONDS)])
    with monkeypatch.context() as kernel:
        kernel.setattr(leftovers, "own_children", lambda: {child.pid})
        kernel.setattr(os, "kill", lambda *_: None)
        leftovers.end_orphans(())
    assert child.poll() is None
    child.kill()
    child.wait()
