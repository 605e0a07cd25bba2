"""Choose the account of the private PostgreSQL, which refuses to run as root."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tomaat.processes.dying import STAY, command_that_dies_with
from tomaat.processes.not_started import NotStarted

ROOT = 0
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
UNPRIVILEGED = ("postgres", "nobody")  #: accounts that exist already; none is ever created


class PrivatePostgresFailed(NotStarted):
    """The private PostgreSQL cannot run; the sentence says why, and what mends it."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that runs the server; uid and gid are ``STAY`` where the launcher is not root."""

    uid: int = STAY
    gid: int = STAY

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a short program under this account; its answer is in ``stdout``."""
        change: dict[str, Any] = {} if self.uid == STAY else {"user": self.uid, "group": self.gid, "extra_groups": []}
        return subprocess.run(
            command, cwd="/", env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60, **change
        )

    def start(
        self, command: list[str], number: signal.Signals, output: int | IO[bytes], environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start a program that gets a signal when this thread ends, out of reach of the terminal's Ctrl-C."""
        return subprocess.Popen(
            command_that_dies_with(os.getpid(), number, self.uid, self.gid, command),
            cwd="/",
            env=ENVIRONMENT | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            umask=0o077,
            start_new_session=True,
        )

    def can_enter(self, folder: Path) -> bool:
        """Ask the kernel, since modes alone do not tell (access lists, user namespaces)."""
        return self.run("test", "-x", folder).returncode == 0

    def own(self, path: Path) -> None:
        """Give the account a file or folder that the launcher has just made."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


def choose_account(data: Path) -> Account:
    """Take the owner of the data, else an unprivileged account; a launcher that is not root keeps its own."""
    owner = data.stat() if data.exists() else None
    if os.geteuid() != ROOT:
        if owner is not None and owner.st_uid != os.geteuid():
            raise PrivatePostgresFailed(
                f"{data} belongs to user {owner.st_uid}, and this is user {os.geteuid()}: "
                "start as root or as that user, or choose another TOMAAT_BASE_STORAGE_DIR."
            )
        return Account()
    if owner is not None and owner.st_uid != ROOT:
        return Account(uid=owner.st_uid, gid=owner.st_gid)
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != ROOT:
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise PrivatePostgresFailed(
        f"PostgreSQL does not run as root, and no user {' or '.join(UNPRIVILEGED)} exists to run it: "
        "start as an ordinary user, or set TOMAAT_DATABASE_URL."
    )
