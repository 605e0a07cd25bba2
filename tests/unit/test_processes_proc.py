"""What is read of this process and of this machine."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tomaat.processes import proc


def test_a_process_that_was_not_waited_for_has_no_start_time_any_more():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert proc.start_time(child.pid) is None, "it is a zombie"
    assert child.pid in proc.command_lines()
    child.wait()
    assert proc.start_time(child.pid) is None
    assert proc.start_time(os.getpid()) == proc.start_time(os.getpid()) > 0


def test_a_processs_name_may_hold_anything(tmp_path):
    program = tmp_path / ") Z 1"
    program.symlink_to(Path("/bin/sleep").resolve())
    with subprocess.Popen([program, "60"]) as child:
        assert proc.start_time(child.pid) is not None
        assert proc.command_lines()[child.pid][:2] == [str(program), "60"]
        child.kill()


def test_the_threads_of_this_process_are_counted():
    before, goes_on = proc.own_threads(), threading.Event()
    thread = threading.Thread(target=goes_on.wait)
    thread.start()
    assert proc.own_threads() == before + 1
    goes_on.set()
    thread.join()


def test_a_thread_that_ends_meanwhile_hides_no_child_of_another(monkeypatch, tmp_path):
    monkeypatch.setattr(proc, "PROC", tmp_path)
    for thread in ("10", "11", "12"):
        (tmp_path / "self/task" / thread).mkdir(parents=True)
    (tmp_path / "self/task/10/children").write_text("21 22 ")
    (tmp_path / "self/task/12/children").write_text("23 ")
    assert proc.own_children() == {21, 22, 23}


def test_sizes_are_in_bytes():
    assert 10**6 < proc.own_memory_bytes("VmRSS") < proc.own_mapped_bytes()
    assert proc.machine_memory_bytes("MemAvailable") < proc.machine_memory_bytes("MemTotal")
    with pytest.raises(OSError, match="has no line VmNothing"):
        proc.own_memory_bytes("VmNothing")


def test_a_port_below_the_lowest_open_one_is_for_root(monkeypatch, tmp_path):
    monkeypatch.setattr(proc, "PROC", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert proc.lowest_open_port() == 1024
    (tmp_path / "sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "sys/net/ipv4/ip_unprivileged_port_start").write_text("80\n")
    assert proc.lowest_open_port() == 80
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert proc.lowest_open_port() == 0


def test_nothing_but_proc_py_reads_proc():
    """One room, one file; a link to a descriptor of the own process is a name and no reading."""
    program = Path(proc.__file__).parents[1]
    reads = re.compile(r"""["']/proc(?!/self/fd/)""")
    others = {path.name for path in program.rglob("*.py") if reads.search(path.read_text())}
    assert others == {"proc.py"}


def test_it_needs_the_standard_library_alone():
    program = f"import runpy; runpy.run_path({proc.__file__!r})"
    assert subprocess.run([sys.executable, "-I", "-S", "-c", program], check=False).returncode == 0
