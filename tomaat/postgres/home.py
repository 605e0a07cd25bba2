"""The files of the private PostgreSQL: its password, its data, and where they lie.

``<home>/password`` belongs to the launcher, ``<home>/data`` to the server's account. Where that account may not enter
the home, ``data`` is a link to a folder below ``PLACE_FOR_ROOT``: the permissions of other folders stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import structlog

from tomaat.postgres.account import ROOT, Account, PrivatePostgresFailed, choose_account
from tomaat.postgres.binaries import find_binaries, make_folder_for_all
from tomaat.storage.files import flush

log = structlog.get_logger()

NAME = "tomaat"  #: of the role and of the database
PLACE_FOR_ROOT = Path("/var/lib/tomaat")
INITDB_SECONDS = 300.0


def prepare_home(home: Path) -> str:
    """Make home, password and data where they are missing, each whole or not at all; return the password."""
    with contextlib.suppress(FileExistsError):
        home.mkdir(parents=True)
        home.chmod(0o711 if os.geteuid() == ROOT else 0o700)
    password_file = home / "password"
    data = data_of(home)
    if data.exists() and not password_file.exists():
        raise PrivatePostgresFailed(
            f"{password_file} is missing, and {data} cannot be opened without it: "
            f"restore it from a backup, or remove {home} to begin with an empty database."
        )
    if not password_file.exists():
        _write_whole(password_file, secrets.token_hex(32))
    password = password_file.read_text()
    if not data.exists():
        account = choose_account(data)
        _choose_place(home, account)
        _make_data(data_of(home), account, password)
    return password


def data_of(home: Path) -> Path:
    """Return PostgreSQL's own folder, which may not exist yet."""
    return (home / "data").resolve()


def remove_home(home: Path) -> None:
    """Delete all files of a server, wherever they lie."""
    data = data_of(home)
    if data.is_relative_to(PLACE_FOR_ROOT):
        shutil.rmtree(data.parent)
    shutil.rmtree(home)


def _choose_place(home: Path, account: Account) -> None:
    link = home / "data"
    if link.is_symlink() or account.can_enter(home):
        return
    make_folder_for_all(PLACE_FOR_ROOT)
    place = Path(tempfile.mkdtemp(prefix="postgres-", dir=PLACE_FOR_ROOT))
    place.chmod(0o711)
    try:
        link.symlink_to(place / "data")
    except FileExistsError:  # another launcher was first
        place.rmdir()
        return
    log.info("postgres.elsewhere", data=str(place / "data"), reason=f"user {account.uid} may not enter {home}")


def _make_data(data: Path, account: Account, password: str) -> None:
    """Run initdb in a folder beside the final name, so that a killed one leaves nothing that counts."""
    half = Path(tempfile.mkdtemp(prefix="initdb-", dir=data.parent))
    password_file = half / "password"
    password_file.touch(0o600)
    password_file.write_text(password)
    for path in (half, password_file):
        account.own(path)
    command = [
        str(find_binaries(None, account, PLACE_FOR_ROOT) / "initdb"),
        *("--pgdata", str(half / "data"), "--username", NAME, "--pwfile", str(password_file)),
        *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--data-checksums"),
    ]
    initdb = account.start(command, signal.SIGKILL, subprocess.PIPE, {})
    said, _ = initdb.communicate(timeout=INITDB_SECONDS)
    if initdb.returncode == 0:
        with contextlib.suppress(OSError):  # another launcher was first
            (half / "data").rename(data)
            flush(data.parent)
    if not data.exists():
        shutil.rmtree(half, ignore_errors=True)
        raise PrivatePostgresFailed(f"initdb could not make {data}: {said.decode(errors='replace').strip()}")
    for left_over in data.parent.glob("initdb-*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _write_whole(path: Path, text: str) -> None:
    """Write a file of its owner alone, durable, under its name only when whole; the first writer wins."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    with contextlib.suppress(FileExistsError):
        os.link(name, path)
    Path(name).unlink()
    flush(path.parent)
