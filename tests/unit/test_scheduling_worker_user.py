"""The account of the workers, and what is wrong with one."""

import grp
import os
import pwd
import subprocess

import pytest

from tests.nobody import NOBODY, as_nobody
from tomaat.processes.misconfigured import Misconfigured
from tomaat.scheduling import worker_user
from tomaat.scheduling.worker_user import WorkerUser, faults_of_account, find_worker_user

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")


def faults_as_nobody(name):
    try:
        return find_worker_user(name)
    except Misconfigured as error:
        return str(error)


def test_without_a_setting_there_is_none():
    assert find_worker_user(None) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-user", "there is no user no-such-user: useradd "),
        ("root", "root is root, who sees everything"),
        (pwd.getpwuid(os.geteuid()).pw_name, "root is root" if os.geteuid() == 0 else "the doors' own user"),
    ],
)
def test_an_account_that_is_none_is_refused_with_its_remedy(name, words):
    with pytest.raises(Misconfigured, match=words):
        find_worker_user(name)


def test_a_user_without_the_right_or_outside_of_the_group_is_told():
    assert "without CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID" in as_nobody(_faults_with_group, "games")
    assert f"is not in the group {grp.getgrnam('games').gr_name}" in as_nobody(faults_as_nobody, "games")
    assert "the doors' own user" in as_nobody(faults_as_nobody, "nobody")


def _faults_with_group(name):
    worker_user.os.getgroups = lambda: [pwd.getpwnam(name).pw_gid]
    return faults_as_nobody(name)


@only_root
def test_a_worker_of_that_account_has_its_groups_and_no_rights():
    user = find_worker_user("nobody")
    # this Python may lie where nobody may not enter: so a program that is everybody's is asked
    said = subprocess.run(user.command(["/bin/cat", "/proc/self/status"]), capture_output=True, text=True, check=True)
    status = dict(line.split(":\t", 1) for line in said.stdout.splitlines() if ":\t" in line)
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert sorted(map(int, status["Groups"].split())) == sorted(user.groups)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapAmb"], 16) == 0


@only_root
def test_a_folder_that_the_account_cannot_enter_is_refused_by_its_name(tmp_path, monkeypatch):
    user = find_worker_user("nobody")
    monkeypatch.setattr(worker_user.sys, "executable", "/bin/true")
    monkeypatch.setattr(WorkerUser, "command", _as)
    tmp_path.chmod(0o700)
    with pytest.raises(Misconfigured, match=f"nobody cannot enter {tmp_path}"):
        user.check(tmp_path)


def _as(user, command):
    return ["/usr/bin/setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", *command]


def test_faults_name_their_remedy():
    assert all(": " in fault for name in ("no-such-user", "root") for fault in faults_of_account(name))


def test_the_home_is_the_accounts_and_the_doors_temporary_folder_is_not():
    user = WorkerUser(name="w", uid=1, gid=1, groups=(1,), home="/home/w")
    assert user.environment({"HOME": "/root", "TMPDIR": "/root/tmp", "PATH": "/bin"}) == {
        "HOME": "/home/w",
        "PATH": "/bin",
    }
