"""Who holds a lease, and whether that process is gone."""

import os
import subprocess

import pytest

from tomaat.processes import proc
from tomaat.processes.holder import is_gone, this_process


def name_of(pid):
    return this_process().replace(f"/{os.getpid()}/{proc.start_time(os.getpid())}", f"/{pid}/{proc.start_time(pid)}")


def test_a_process_is_gone_once_it_has_ended_and_another_with_its_id_is_another():
    with subprocess.Popen(["sleep", "60"]) as other:
        named = name_of(other.pid)
        assert not is_gone(named)
        assert is_gone(f"{named}0"), "it started at another time"
        other.kill()
        other.wait()
    assert is_gone(named)
    assert not is_gone("another-boot/1/2/3")


@pytest.fixture
def hiding(tmp_path, monkeypatch):
    """Hide all processes, as systemd's ``ProtectProc=invisible`` hides the doors from each other."""
    for name in ("sys", "self"):
        (tmp_path / name).symlink_to(f"/proc/{name}")
    return lambda: monkeypatch.setattr(proc, "PROC", tmp_path)


def test_a_process_that_is_hidden_is_not_gone_while_it_runs(hiding):
    with subprocess.Popen(["sleep", "60"]) as other:
        named = name_of(other.pid)
        hiding()
        assert not is_gone(named)
        other.kill()
        other.wait()
    assert is_gone(named)
