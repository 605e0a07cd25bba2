"""The account of the workers, where they have one of their own: tasks see the tickets that they get, and no others."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tomaat.processes.dying import command_that_dies_with
from tomaat.processes.misconfigured import Misconfigured
from tomaat.processes.proc import own_capabilities

#: what TaskScheduling needs to start, end and feed a process of another user, by their numbers (capabilities(7))
CAPABILITIES = {"CAP_CHOWN": 0, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
UMASK = 0o007  #: what a worker writes is its group's too, and so the lane's
SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class WorkerUser:
    """An account of this machine; its group is how the doors let it see a ticket's files."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]  #: all of them, since a GPU may be one's
    home: str

    def command(self, command: list[str]) -> list[str]:
        """Say how to start a program as this user, without any of this process's rights."""
        return command_that_dies_with(os.getpid(), signal.SIGKILL, self.uid, self.gid, command, groups=self.groups)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Take from a worker's environment the places that are the door's."""
        return {name: value for name, value in environment.items() if name != "TMPDIR"} | {"HOME": self.home}

    def check(self, tickets: Path) -> None:
        """Raise ``Misconfigured`` where this user can neither run Python nor enter the folder of the tickets."""
        for what, command in (
            (f"run {sys.executable}", [sys.executable, "-I", "-S", "-c", ""]),
            (f"enter {tickets}", ["/usr/bin/test", "-x", str(tickets)]),
        ):
            run = subprocess.run(
                self.command(command), cwd="/", env={}, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                check=False, timeout=SECONDS,
            )  # fmt: skip
            if run.returncode != 0:
                raise Misconfigured(
                    f"TOMAAT_WORKER_USER: {self.name} cannot {what}: let others enter (chmod o+x) each folder above it"
                )


def find_worker_user(name: str | None) -> WorkerUser | None:
    """Find the workers' account; raises ``Misconfigured`` where workers cannot run as it."""
    if name is None:
        return None
    faults = faults_of_account(name)
    if not faults and os.geteuid() != 0:
        faults = _faults_of_this_process(name)
    if faults:
        raise Misconfigured(f"TOMAAT_WORKER_USER: {faults[0]}")
    entry = pwd.getpwnam(name)
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return WorkerUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid, groups=groups, home=entry.pw_dir)


def faults_of_account(name: str) -> list[str]:
    """Say what is wrong with an account for workers, with the remedy."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return [f"there is no user {name}: useradd --system --user-group --shell /usr/sbin/nologin {name}"]
    user = os.geteuid()
    if entry.pw_uid in {0, user}:
        owner = "root, who sees everything" if entry.pw_uid == 0 else "the doors' own user, who sees all tickets"
        return [f"{name} is {owner}: name a user that is nothing else"]
    if user != 0 and entry.pw_gid not in {os.getegid(), *os.getgroups()}:
        group = grp.getgrgid(entry.pw_gid).gr_name
        doors = pwd.getpwuid(user).pw_name
        return [
            f"{doors} is not in the group {group}, and could not read what workers write: usermod -aG {group} {doors}"
        ]
    return []


def _faults_of_this_process(name: str) -> list[str]:
    had = own_capabilities()
    lacking = [capability for capability, number in CAPABILITIES.items() if not had >> number & 1]
    if not lacking:
        return []
    return [
        f"TaskScheduling cannot start a process of {name} without {', '.join(lacking)}: its unit gives it these "
        "(deploy/worker-user.conf), or start it as root"
    ]
