"""Under which account the private PostgreSQL runs: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = 0
STAY = -1  #: a uid or gid that means: as it is
UNPRIVILEGED = ("postgres", "nobody")  #: accounts that exist already; none is ever created


class PrivatePostgresFailed(Exception):
    """The private PostgreSQL cannot run; the sentence says why, and what mends it."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who runs the server; uid and gid are ``STAY`` where the launcher is no root."""

    uid: int = STAY
    gid: int = STAY

    @property
    def popen_arguments(self) -> dict[str, Any]:
        """What makes ``subprocess`` start a program under this account, in a folder and environment for anybody."""
        arguments: dict[str, Any] = {"cwd": "/", "env": ENVIRONMENT, "stdin": subprocess.DEVNULL}
        if self.uid != STAY:
            arguments |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return arguments

    def can_enter(self, folder: Path) -> bool:
        """Ask the kernel, since modes alone do not tell (access lists, user namespaces)."""
        return subprocess.run(["test", "-x", folder], check=False, **self.popen_arguments).returncode == 0

    def own(self, path: Path) -> None:
        """Hand over something that the launcher has just made."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)


ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def choose_account(data: Path) -> Account:
    """Take the owner of the data, else an unprivileged account; whoever is no root stays who he is."""
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
